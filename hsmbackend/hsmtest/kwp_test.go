package hsmtest

import (
	"encoding/hex"
	"testing"
)

// The two vectors of RFC 5649, section 6.
func TestWrapKWP(t *testing.T) {
	t.Parallel()
	kek := "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"
	for material, want := range map[string]string{
		"c37b7e6492584340bed12207808941155068f738": "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
		"466f7250617369": "afbeb0f07dfbf5419200f2ccb50bb24f",
	} {
		k, err := hex.DecodeString(kek)
		if err != nil {
			t.Fatal(err)
		}
		m, err := hex.DecodeString(material)
		if err != nil {
			t.Fatal(err)
		}
		got, err := wrapKWP(k, m)
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%x, %v; want %s", got, err, want)
		}
	}
}
