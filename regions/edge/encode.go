package edge

import (
	"fmt"

	"github.com/go-json-experiment/json"
)

// Encode encodes an answer: []byte as padded base64, a nil slice or map as an empty one unless the member is marked
// omitzero or omitempty, map names in order of their bytes. It fails for a string that is not UTF-8 and for a type that refuses
// to be marshalled, as secrets do; the error may name types but holds no values.
func Encode(v any) ([]byte, error) {
	text, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return text, nil
}
