package regions_test

import (
	"errors"
	"testing"

	"antipode/regions"
)

// wantError fails the test unless err is the API's error with this code and text.
func wantError(t testing.TB, what string, err error, code, message string) {
	t.Helper()
	var api *regions.Error
	if !errors.As(err, &api) {
		t.Errorf("%s: %v, want %s", what, err, code)
		return
	}
	if api.Code != code || api.Message != message {
		t.Errorf("%s:\n got %s: %s\nwant %s: %s", what, api.Code, api.Message, code, message)
	}
}
