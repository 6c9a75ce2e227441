package p11

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// conn is one connection: an initialised module with a login. It is used until it is broken, then replaced.
type conn struct {
	cfg  *Config
	mod  *module
	slot uint
	info pkcs11.TokenInfo

	mu      sync.Mutex
	c11     *crypto11.Context
	signers map[hsmbackend.ID]crypto11.Signer
	idle    []pkcs11.SessionHandle // sessions of no call
	doomed  []pkcs11.SessionHandle // sessions of closed scopes that could not be closed yet
	broken  bool
}

// connect initialises the module and logs in. The module must not be initialised by this Token.
func connect(cfg *Config, mod *module) (*conn, error) {
	c := &conn{cfg: cfg, mod: mod, signers: map[hsmbackend.ID]crypto11.Signer{}}
	err := withEnv(cfg.Env, c.start)
	if err == nil {
		return c, nil
	}
	var known *hsmbackend.Error
	if errors.As(err, &known) {
		return nil, err
	}
	e := &hsmbackend.Error{Op: "open token", Kind: hsmbackend.ErrUnavailable, Info: err.Error()}
	if rv, ok := rvOf(err); ok {
		e.RV = rv
		if _, kind := classify(rv); errors.Is(kind, hsmbackend.ErrPIN) || errors.Is(kind, hsmbackend.ErrFull) {
			e.Kind = kind
		}
	}
	return nil, e
}

func (c *conn) start() error {
	// crypto11 initialises and logs in in one step and takes the first token that matches, so look first: a PIN must not
	// be tried on the wrong token.
	_, info, err := survey(c.cfg, c.mod.raw)
	if err != nil {
		return err
	}
	c.c11, err = c.login(info)
	if err != nil {
		return err
	}
	if err := c.attach(); err != nil {
		return errors.Join(err, c.c11.Close())
	}
	return nil
}

// attach joins what crypto11 opened and finds its token there.
func (c *conn) attach() error {
	if err := c.mod.raw.Initialize(); !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return fmt.Errorf("the module is not the one that crypto11 opened: %w", err)
	}
	var err error
	c.slot, c.info, err = choose(c.cfg, c.mod.raw)
	return err
}

// survey finds the token while the module is not initialised by us, and leaves it so.
func survey(cfg *Config, raw *pkcs11.Ctx) (slot uint, info pkcs11.TokenInfo, err error) {
	switch err := raw.Initialize(); {
	case err == nil:
		slot, info, err = choose(cfg, raw)
		return slot, info, errors.Join(err, raw.Finalize())
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)):
		return choose(cfg, raw) // another Token of this process has it open
	default:
		return 0, pkcs11.TokenInfo{}, fmt.Errorf("C_Initialize: %w", err)
	}
}

// choose returns the one token that has the label and the serial number.
func choose(cfg *Config, raw *pkcs11.Ctx) (uint, pkcs11.TokenInfo, error) {
	var found []uint
	var info pkcs11.TokenInfo
	slots, err := raw.GetSlotList(true)
	if err != nil {
		return 0, info, fmt.Errorf("C_GetSlotList: %w", err)
	}
	for _, s := range slots {
		ti, err := raw.GetTokenInfo(s)
		if err != nil {
			return 0, info, fmt.Errorf("C_GetTokenInfo: %w", err)
		}
		if ti.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 ||
			cfg.Label != "" && trim(ti.Label) != cfg.Label || cfg.Serial != "" && trim(ti.SerialNumber) != cfg.Serial {
			continue
		}
		found, info = append(found, s), ti
	}
	if len(found) != 1 {
		return 0, info, &hsmbackend.Error{
			Op: "choose token", Kind: hsmbackend.ErrUnavailable,
			Info: fmt.Sprintf("%d tokens in %d slots have label %q and serial %q", len(found), len(slots), cfg.Label, cfg.Serial),
		}
	}
	return found[0], info, nil
}

// login makes a crypto11 context: it initialises the module if it is not, keeps a session open for as long as it lives
// (so the login outlives all others), and logs in unless this process is logged in already.
func (c *conn) login(info pkcs11.TokenInfo) (*crypto11.Context, error) {
	pin, err := c.cfg.PIN()
	if err != nil {
		return nil, fmt.Errorf("read the PIN: %w", err)
	}
	defer clear(pin)
	cc := &crypto11.Config{
		Path: c.mod.path,
		// As many sessions as there can be calls, and the one it keeps: its pool never makes a caller wait.
		MaxSessions:     c.cfg.Profile.MaxCalls + 1,
		PoolWaitTimeout: c.cfg.Profile.Wait,
		Pin:             unsafe.String(unsafe.SliceData(pin), len(pin)), //nolint:gosec // so that clear(pin) clears it
	}
	if cc.TokenSerial = trim(info.SerialNumber); cc.TokenSerial == "" {
		cc.TokenLabel = trim(info.Label)
	}
	ctx, err := crypto11.Configure(cc)
	cc.Pin = ""
	if err != nil {
		return nil, fmt.Errorf("open and log in: %w", err)
	}
	return ctx, nil
}

// renewSigners replaces crypto11's context, whose pool keeps dead sessions for ever. The new one is made before the
// old one is closed: closing the last one finalises the module.
func (c *conn) renewSigners() error {
	ctx, err := c.login(c.info)
	if err != nil {
		return err
	}
	c.mu.Lock()
	old := c.c11
	c.c11, c.signers = ctx, map[hsmbackend.ID]crypto11.Signer{}
	c.mu.Unlock()
	return old.Close()
}

// close finalises the module. The caller holds every call's place.
func (c *conn) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Finalising closes all sessions and logs out. Where another Token of this process keeps the same module open,
	// nothing is finalised, so ours are closed one by one.
	for _, s := range append(c.idle, c.doomed...) {
		_ = c.mod.raw.CloseSession(s) // it may be dead, which is why we are here
	}
	c.idle, c.doomed = nil, nil
	return c.c11.Close()
}

// session takes an idle session or opens one.
func (c *conn) session() (pkcs11.SessionHandle, error) {
	c.mu.Lock()
	doomed := c.doomed
	c.doomed = nil
	var s pkcs11.SessionHandle
	n := len(c.idle)
	if n > 0 {
		s, c.idle = c.idle[n-1], c.idle[:n-1]
	}
	c.mu.Unlock()
	for _, d := range doomed {
		_ = c.mod.raw.CloseSession(d) // what can't be closed is gone already
	}
	if n > 0 {
		return s, nil
	}
	return c.openSession()
}

func (c *conn) openSession() (pkcs11.SessionHandle, error) {
	s, err := c.mod.raw.OpenSession(c.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	return s, ck("C_OpenSession", err)
}

// putBack makes a session idle again.
func (c *conn) putBack(s pkcs11.SessionHandle) {
	c.mu.Lock()
	c.idle = append(c.idle, s)
	c.mu.Unlock()
}

// probe asks a session whether it lives and is logged in.
func (c *conn) probe(s pkcs11.SessionHandle) fate {
	si, err := c.mod.raw.GetSessionInfo(s)
	if err != nil {
		rv, _ := rvOf(err)
		if ft, _ := classify(rv); ft == fateSession {
			return fateSession
		}
		return fateModule
	}
	if si.State != pkcs11.CKS_RW_USER_FUNCTIONS && si.State != pkcs11.CKS_RO_USER_FUNCTIONS {
		return fateModule // the login is lost
	}
	return fateFine
}

// trim removes the padding of fixed-length strings.
func trim(s string) string { return strings.TrimRight(s, " \x00") }
