package p11

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// NewToken is what [InitToken] makes.
type NewToken struct {
	Module      string   // absolute path of the PKCS#11 library
	PrivateCopy bool     // as in [Config]
	Env         []string // as in [Config]
	Label       string   // 1 to 32 bytes
	SOPIN, PIN  []byte   // as long as the token wants them; the caller overwrites them
}

// InitToken initialises the first slot that holds a token without initialisation, sets both PINs and returns the
// token's serial number. It never touches an initialised token. The module must not be in use in this process, unless
// PrivateCopy is set.
func InitToken(ctx context.Context, nt NewToken) (serial string, err error) {
	if n := len(nt.Label); n < 1 || n > 32 {
		return "", errors.New("a token's label has 1 to 32 bytes")
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	mod, err := load(nt.Module, nt.PrivateCopy)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, mod.close()) }()
	if err := withEnv(nt.Env, func() error { return mod.raw.Initialize() }); err != nil {
		return "", fmt.Errorf("C_Initialize: %w", err)
	}
	defer func() { err = errors.Join(err, mod.raw.Finalize()) }()
	slot, err := blankSlot(mod.raw)
	if err != nil {
		return "", err
	}
	if err := mod.raw.InitToken(slot, string(nt.SOPIN), nt.Label); err != nil {
		return "", fmt.Errorf("C_InitToken: %w", err)
	}
	if err := initPIN(mod.raw, slot, nt); err != nil {
		return "", err
	}
	ti, err := mod.raw.GetTokenInfo(slot)
	if err != nil {
		return "", fmt.Errorf("C_GetTokenInfo: %w", err)
	}
	return trim(ti.SerialNumber), nil
}

func blankSlot(raw *pkcs11.Ctx) (uint, error) {
	slots, err := raw.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("C_GetSlotList: %w", err)
	}
	for _, s := range slots {
		ti, err := raw.GetTokenInfo(s)
		if err != nil {
			return 0, fmt.Errorf("C_GetTokenInfo: %w", err)
		}
		if ti.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			return s, nil
		}
	}
	return 0, errors.New("no slot holds a token that is not initialised")
}

func initPIN(raw *pkcs11.Ctx, slot uint, nt NewToken) (err error) {
	s, err := raw.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return fmt.Errorf("C_OpenSession: %w", err)
	}
	defer func() { err = errors.Join(err, raw.CloseSession(s)) }()
	if err := raw.Login(s, pkcs11.CKU_SO, string(nt.SOPIN)); err != nil {
		return fmt.Errorf("C_Login as security officer: %w", err)
	}
	if err := raw.InitPIN(s, string(nt.PIN)); err != nil {
		return fmt.Errorf("C_InitPIN: %w", err)
	}
	return raw.Logout(s)
}
