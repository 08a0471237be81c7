// Reads byte streams with the framer of moby/spdystream, and says what it makes of them.
//
// Standard input has one stream a line, in hex. For each, standard output has one line of JSON: the frames that were
// read, up to the end or to the first that is refused.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/moby/spdystream/spdy"
)

// The longest line: a stream of half of that many bytes.
const longestLine = 64 << 20

type frame struct {
	Kind    string            `json:"kind"`
	Stream  uint32            `json:"stream,omitempty"`
	Fin     bool              `json:"fin,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Data    string            `json:"data,omitempty"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	out := bufio.NewWriter(os.Stdout)
	answers := json.NewEncoder(out)
	for lines.Scan() {
		stream, err := hex.DecodeString(lines.Text())
		if err != nil {
			log.Fatal(err)
		}
		if err := answers.Encode(read(stream)); err != nil {
			log.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

func read(stream []byte) []frame {
	frames := []frame{}
	framer, err := spdy.NewFramer(&bytes.Buffer{}, bytes.NewReader(stream))
	if err != nil {
		log.Fatal(err)
	}
	for {
		got, err := framer.ReadFrame()
		if err != nil {
			return frames
		}
		frames = append(frames, said(got))
	}
}

func said(got spdy.Frame) frame {
	switch got := got.(type) {
	case *spdy.SynStreamFrame:
		return frame{Kind: "opened", Stream: uint32(got.StreamId), Fin: fin(got.CFHeader), Headers: headers(got.Headers)}
	case *spdy.SynReplyFrame:
		return frame{Kind: "replied", Stream: uint32(got.StreamId), Fin: fin(got.CFHeader)}
	case *spdy.RstStreamFrame:
		return frame{Kind: "reset", Stream: uint32(got.StreamId)}
	case *spdy.GoAwayFrame:
		return frame{Kind: "leaving"}
	case *spdy.DataFrame:
		data := hex.EncodeToString(got.Data)
		return frame{Kind: "data", Stream: uint32(got.StreamId), Fin: got.Flags&spdy.DataFlagFin != 0, Data: data}
	default:
		return frame{Kind: "aside"}
	}
}

func fin(header spdy.ControlFrameHeader) bool {
	return header.Flags&spdy.ControlFlagFin != 0
}

// What Get finds of each header, by its name in lower case: servers ask for nothing else.
func headers(all http.Header) map[string]string {
	found := map[string]string{}
	for name := range all {
		found[strings.ToLower(name)] = hex.EncodeToString([]byte(all.Get(name)))
	}
	return found
}
