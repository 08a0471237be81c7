// A SAML 2.0 identity provider as the tests need it: users with groups from a JSON file, https, several signing keys
// of which one signs, and a check of signed requests. Everything else is crewjam's samlidp, unchanged.
//
//	saml_idp config.json
//
// SIGHUP lets the next of the configured keys sign; all of them stand in the metadata from the start, as when a
// company announces a new key before it uses it. Service providers are told by PUT /services/<name> with their
// metadata, as samlidp has it.
package main

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/crewjam/saml"
	"github.com/crewjam/saml/samlidp"
	dsig "github.com/russellhaering/goxmldsig"
	"golang.org/x/crypto/bcrypt"
)

const rsaSHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"

type config struct {
	URL         string `json:"url"`
	Listen      string `json:"listen"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	// What assertions are signed with: the first, until it is told to go on to the next.
	Signing []pair `json:"signing"`
	Users   []user `json:"users"`
	// What kind of NameID it sends; the value is the email address.
	NameIDFormat string `json:"nameIDFormat"`
	// The signature algorithm's address.
	SignatureMethod string `json:"signatureMethod"`
	// Whether requests must be signed.
	WantSignedRequests bool `json:"wantSignedRequests"`
}

type pair struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

type user struct {
	Name     string   `json:"name"`
	Email    string   `json:"email"`
	Password string   `json:"password"`
	Groups   []string `json:"groups"`
}

// provider is samlidp with what it lacks.
type provider struct {
	server *samlidp.Server
	config *config
	pairs  []tls.Certificate

	mu      sync.Mutex // guards the key that signs while a response is made
	current int
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: saml_idp config.json")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	configured, err := read(path)
	if err != nil {
		return err
	}
	made, err := newProvider(configured)
	if err != nil {
		return err
	}
	go made.rotateWhenTold(ctx)

	listener := &http.Server{Addr: configured.Listen, Handler: made, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = listener.Close()
	}()
	log.Printf("listening, %s", configured.URL)
	err = listener.ListenAndServeTLS(configured.Certificate, configured.Key)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func read(path string) (*config, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	configured := &config{
		SignatureMethod: dsig.RSASHA256SignatureMethod,
		NameIDFormat:    string(saml.EmailAddressNameIDFormat),
	}
	if err := json.Unmarshal(content, configured); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(configured.Signing) == 0 {
		return nil, fmt.Errorf("%s: no signing key", path)
	}
	return configured, nil
}

func newProvider(configured *config) (*provider, error) {
	made := &provider{config: configured}
	for _, one := range configured.Signing {
		loaded, err := tls.LoadX509KeyPair(one.Certificate, one.Key)
		if err != nil {
			return nil, err
		}
		if loaded.Leaf, err = x509.ParseCertificate(loaded.Certificate[0]); err != nil {
			return nil, err
		}
		made.pairs = append(made.pairs, loaded)
	}
	store := &samlidp.MemoryStore{}
	for _, one := range configured.Users {
		// Tests wait for it, and nobody attacks these passwords.
		hash, err := bcrypt.GenerateFromPassword([]byte(one.Password), bcrypt.MinCost)
		if err != nil {
			return nil, err
		}
		known := samlidp.User{Name: one.Name, Email: one.Email, HashedPassword: hash, Groups: one.Groups}
		if err := store.Put("/users/"+one.Name, &known); err != nil {
			return nil, err
		}
	}
	address, err := url.Parse(configured.URL)
	if err != nil {
		return nil, err
	}
	first := made.pairs[0]
	made.server, err = samlidp.New(samlidp.Options{
		URL: *address, Key: first.PrivateKey, Certificate: first.Leaf, Store: store,
	})
	if err != nil {
		return nil, err
	}
	made.server.IDP.SignatureMethod = configured.SignatureMethod
	made.server.IDP.SessionProvider = made
	// samlidp sends its login form to /login, which ends there; /sso goes on to the service provider.
	made.server.IDP.LoginURL = made.server.IDP.SSOURL
	return made, nil
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case r.URL.Path == "/metadata":
		p.serveMetadata(w)
		return
	case r.URL.Path == "/sso" && r.Method == http.MethodGet && p.config.WantSignedRequests:
		if err := p.checkSignature(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
	}
	p.server.ServeHTTP(w, r)
}

// GetSession is samlidp's, with the configured kind of NameID in the place of "transient".
func (p *provider) GetSession(w http.ResponseWriter, r *http.Request, req *saml.IdpAuthnRequest) *saml.Session {
	session := p.server.GetSession(w, r, req)
	if session != nil {
		session.NameIDFormat = p.config.NameIDFormat
	}
	return session
}

func (p *provider) serveMetadata(w http.ResponseWriter) {
	described := p.server.IDP.Metadata()
	role := &described.IDPSSODescriptors[0]
	role.WantAuthnRequestsSigned = &p.config.WantSignedRequests
	role.NameIDFormats = []saml.NameIDFormat{saml.NameIDFormat(p.config.NameIDFormat)}
	role.KeyDescriptors = nil
	for _, one := range p.pairs {
		encoded := base64.StdEncoding.EncodeToString(one.Leaf.Raw)
		role.KeyDescriptors = append(role.KeyDescriptors, saml.KeyDescriptor{
			Use:     "signing",
			KeyInfo: saml.KeyInfo{X509Data: saml.X509Data{X509Certificates: []saml.X509Certificate{{Data: encoded}}}},
		})
	}
	content, err := xml.MarshalIndent(described, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	_, _ = w.Write(content)
}

// checkSignature is what samlidp leaves out: saml-bindings-2.0-os, section 3.4.4.1, over the query as it was sent.
func (p *provider) checkSignature(r *http.Request) error {
	signed, rest, found := strings.Cut(r.URL.RawQuery, "&Signature=")
	if !found || strings.Contains(rest, "&") {
		return errors.New("the request is not signed")
	}
	if r.URL.Query().Get("SigAlg") != rsaSHA256 {
		return errors.New("the request is not signed with RSA and SHA-256")
	}
	signature, err := base64.StdEncoding.DecodeString(r.URL.Query().Get("Signature"))
	if err != nil {
		return err
	}
	request, err := saml.NewIdpAuthnRequest(&p.server.IDP, r)
	if err != nil {
		return err
	}
	if err := request.Validate(); err != nil {
		return err
	}
	for _, role := range request.ServiceProviderMetadata.SPSSODescriptors {
		for _, descriptor := range role.KeyDescriptors {
			for _, encoded := range descriptor.KeyInfo.X509Data.X509Certificates {
				if verifies(encoded.Data, signed, signature) {
					return nil
				}
			}
		}
	}
	return errors.New("no key in the service provider's metadata made the request's signature")
}

func verifies(encoded string, signed string, signature []byte) bool {
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return false
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return false
	}
	key, isRSA := certificate.PublicKey.(*rsa.PublicKey)
	digest := sha256.Sum256([]byte(signed))
	return isRSA && rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
}

func (p *provider) rotateWhenTold(ctx context.Context) {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGHUP)
	for {
		select {
		case <-ctx.Done():
			return
		case <-told:
			p.mu.Lock()
			p.current = (p.current + 1) % len(p.pairs)
			p.server.IDP.Key = p.pairs[p.current].PrivateKey
			p.server.IDP.Certificate = p.pairs[p.current].Leaf
			log.Printf("signing with key %d", p.current)
			p.mu.Unlock()
		}
	}
}
