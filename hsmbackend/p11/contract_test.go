package p11_test

import (
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/softhsm/softhsmtest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	hsmtest.Run(t, func(t *testing.T) hsmbackend.Token { return softhsmtest.Open(t) })
}
