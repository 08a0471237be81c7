// Prints what Kubernetes' own Go types say about their protobuf form, as a Python module for narrowgate.wire.
//
// For every kind that an API server takes: field number, JSON name, and type. The Go struct tags are the source that
// generated.proto and the JSON form are both made from, so nothing here is written down by hand.
package main

import (
	"fmt"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	aggregator "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// Types whose JSON is not what their fields say; the decoder knows them by name.
var special = map[string]string{
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":                                             "time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":                                        "microtime",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":                                         "duration",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":                                         "fields",
	"k8s.io/apimachinery/pkg/api/resource.Quantity":                                         "quantity",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":                                       "intorstring",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":                                          "raw",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON":                         "raw",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool":        "unread",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray":       "unread",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray": "unread",
}

type schema struct {
	types map[string][]string
	names map[reflect.Type]string
}

func (s *schema) name(t reflect.Type) string {
	path := t.PkgPath()
	parts := strings.Split(path, "/")
	tail := strings.Join(parts[max(0, len(parts)-2):], ".")
	return tail + "." + t.Name()
}

func qualified(t reflect.Type) string { return t.PkgPath() + "." + t.Name() }

// kindOf says how one value is written: a scalar, a special, or a message.
func (s *schema) kindOf(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if known, ok := special[qualified(t)]; ok {
		return known
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "bool"
	case reflect.Int32:
		return "int32" // Kubernetes' readers cut a longer number down to its lower 32 bits
	case reflect.Int64:
		return "int64"
	case reflect.Float64:
		return "double"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		if t.Name() != "" {
			return "list:" + s.kindOf(t.Elem()) // a message of its own whose field 1 repeats
		}
	case reflect.Struct:
		return s.message(t)
	}
	panic("no protobuf form known for " + t.String())
}

func (s *schema) message(t reflect.Type) string {
	name := s.name(t)
	if _, seen := s.types[name]; seen {
		return name
	}
	s.types[name] = nil
	var fields []string
	for i := range t.NumField() {
		field := t.Field(i)
		tag := field.Tag.Get("protobuf")
		jsonName, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if tag == "" || tag == "-" {
			continue
		}
		number, err := strconv.Atoi(strings.Split(tag, ",")[1])
		if err != nil {
			panic(tag)
		}
		if jsonName == "" && strings.Contains(options, "inline") {
			jsonName = ""
		} else if jsonName == "" {
			jsonName = field.Name
		}
		if jsonName == "-" {
			jsonName = field.Name
		}
		form, of := s.formOf(field.Type)
		if filled(field, form, options) {
			form = "filled"
		}
		fields = append(fields, fmt.Sprintf("(%d, %q, %q, %q)", number, jsonName, form, of))
	}
	s.types[name] = fields
	return name
}

// formOf: one value, a list of them, or a map from string.
func (s *schema) formOf(t reflect.Type) (string, string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if _, ok := special[qualified(t)]; ok {
		return "one", s.kindOf(t)
	}
	switch {
	case t.Kind() == reflect.Map:
		return "map", s.kindOf(t.Elem())
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		if t.Name() != "" && !plainAlias[t.Name()] {
			return "one", s.kindOf(t)
		}
		return "list", s.kindOf(t.Elem())
	}
	return "one", s.kindOf(t)
}

// filled: whether encoding/json leaves a value out where it is empty, so that protobuf's explicit empty one says nothing.
func filled(field reflect.StructField, form, options string) bool {
	switch field.Type.Kind() {
	case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64, reflect.Float64, reflect.Slice:
		return form == "one" && strings.Contains(options, "omitempty")
	}
	return false
}

// Named slices that generated.proto writes as plain repeated fields.
var plainAlias = map[string]bool{"ValidationRules": true}

func main() {
	s := &schema{types: map[string][]string{}}
	must(apiextensions.AddToScheme(scheme.Scheme))
	must(aggregator.AddToScheme(scheme.Scheme))
	scheme.Scheme.AddKnownTypes(metav1.SchemeGroupVersion, &metav1.DeleteOptions{})
	roots := map[string]string{}
	for gvk, t := range scheme.Scheme.AllKnownTypes() {
		if gvk.Version == runtime.APIVersionInternal || gvk.Kind == "WatchEvent" || strings.HasSuffix(gvk.Kind, "List") {
			continue
		}
		if _, ok := t.FieldByName("ObjectMeta"); !ok && gvk.Kind != "DeleteOptions" {
			continue
		}
		roots[gvk.GroupVersion().String()+"/"+gvk.Kind] = s.message(t)
	}
	answers := map[string]string{"v1/Status": s.message(reflect.TypeFor[metav1.Status]())}
	for _, version := range []string{"v1", "v1beta1"} {
		answers["meta.k8s.io/"+version+"/PartialObjectMetadata"] = s.message(reflect.TypeFor[metav1.PartialObjectMetadata]())
	}
	out := os.Stdout
	fmt.Fprintln(out, `"""Field numbers, JSON names and types of Kubernetes' own kinds. Made by dev/protobuf, do not edit."""`)
	fmt.Fprintln(out, "\n# ruff: noqa: E501\n\nfrom typing import Final\n")
	fmt.Fprintln(out, "KINDS: Final[dict[str, str]] = {")
	for _, k := range sorted(roots) {
		fmt.Fprintf(out, "    %q: %q,\n", k, roots[k])
	}
	fmt.Fprintln(out, "}\n\"\"\"The message of each apiVersion/kind.\"\"\"\n")
	fmt.Fprintln(out, "ANSWERS: Final[dict[str, str]] = {")
	for _, k := range sorted(answers) {
		fmt.Fprintf(out, "    %q: %q,\n", k, answers[k])
	}
	fmt.Fprintln(out, "}\n\"\"\"The message of what an API server answers besides objects, and nobody sends.\"\"\"\n")
	fmt.Fprintln(out, "MESSAGES: Final[dict[str, tuple[tuple[int, str, str, str], ...]]] = {")
	for _, k := range sorted(s.types) {
		fmt.Fprintf(out, "    %q: (", k)
		for i, f := range s.types[k] {
			if i > 0 {
				fmt.Fprint(out, ", ")
			}
			fmt.Fprint(out, f)
		}
		if len(s.types[k]) == 1 {
			fmt.Fprint(out, ",")
		}
		fmt.Fprintln(out, "),")
	}
	fmt.Fprintln(out, "}\n\"\"\"The fields of each message: number, JSON name (empty: its fields stand in the outer object), form, type.\n\nOf the forms, \"filled\" is one value that JSON leaves out where it is empty.\n\"\"\"")
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
