package crash

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"antipode/hsmbackend/hsmtest"
)

// crashImports ends a Region in each durable step of imported key material.
func crashImports(t *testing.T, original *pair) {
	t.Helper()
	for _, step := range []string{
		"regions.(*Region).putPair", "regions.(*Region).commitImport", "regions.(*Region).removeMaterial",
	} {
		bothSides(t, original, step, importing)
	}
	bothSides(t, original, "regions.(*Region).commitImportedRotation", rotatingImported)
	bothSides(t, original, "regions.(*Region).removeMaterial", expiring)
	bothSides(t, original, "regions.(*Region).prunePairs", expiring)
	bothSides(t, original, "regions.(*Region).replacePair", rewrappingPair)
}

// owner is who holds a key's material outside.
type owner struct {
	key      string
	material []byte
	token    []byte // import token
	wrapped  []byte // the material, to the token's public key
	blob     []byte // encrypted under the key
}

// parameters asks for import parameters, and wraps the material.
func (o *owner) parameters(t *testing.T, c *kms.Client) error {
	t.Helper()
	got, err := c.GetParametersForImport(t.Context(), &kms.GetParametersForImportInput{
		KeyId: &o.key, WrappingKeySpec: types.WrappingKeySpecRsa2048, WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha1,
	})
	if err == nil {
		o.token, o.wrapped = got.ImportToken, hsmtest.WrapByOpenSSL(t, got.PublicKey, "RSAES_OAEP_SHA_1", o.material)
	}
	return err
}

// load imports the material; validTo may be nil.
func (o *owner) load(t *testing.T, c *kms.Client, validTo *time.Time) error {
	t.Helper()
	in := &kms.ImportKeyMaterialInput{
		KeyId: &o.key, ImportToken: o.token, EncryptedKeyMaterial: o.wrapped, ValidTo: validTo,
		ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire,
	}
	if validTo != nil {
		in.ExpirationModel = types.ExpirationModelTypeKeyMaterialExpires
	}
	_, err := c.ImportKeyMaterial(t.Context(), in)
	return err
}

// use encrypts, once, and decrypts.
func (o *owner) use(t *testing.T, c *kms.Client) error {
	t.Helper()
	if o.blob == nil {
		out, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &o.key, Plaintext: []byte("mine")})
		if err != nil {
			return err
		}
		o.blob = out.CiphertextBlob
	}
	opened, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: o.blob})
	if err == nil && string(opened.Plaintext) != "mine" {
		return errors.New("opened to something else")
	}
	return err
}

func (o *owner) remove(t *testing.T, c *kms.Client) error {
	t.Helper()
	_, err := c.DeleteImportedKeyMaterial(t.Context(), &kms.DeleteImportedKeyMaterialInput{KeyId: &o.key})
	return err
}

func (o *owner) state(t *testing.T, c *kms.Client) types.KeyState {
	t.Helper()
	d, err := c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &o.key})
	if err != nil {
		t.Fatal(err)
	}
	return d.KeyMetadata.KeyState
}

func newOwner(t *testing.T, c *kms.Client) *owner {
	t.Helper()
	made, err := c.CreateKey(t.Context(), &kms.CreateKeyInput{Origin: types.OriginTypeExternal})
	if err != nil {
		t.Fatal(err)
	}
	return &owner{key: *made.KeyMetadata.KeyId, material: []byte("0123456789abcdef0123456789abcdef")}
}

// importing: a Region ends while it makes import parameters, takes over the material, or deletes it. Whatever was not
// answered can be asked for again, with the same token.
func importing(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, "")
	o := newOwner(t, p.client(t, home))
	h.stop(t)
	h = p.start(t, home, crash)
	died := false
	for _, do := range []func() error{
		func() error { return o.parameters(t, p.client(t, home)) },
		func() error { return o.load(t, p.client(t, home), nil) },
		func() error { return o.use(t, p.client(t, home)) },
		func() error { return o.remove(t, p.client(t, home)) },
		func() error { return o.load(t, p.client(t, home), nil) },
		func() error { return o.use(t, p.client(t, home)) },
	} {
		err := do()
		if err == nil {
			continue
		}
		if died {
			t.Fatalf("%s: %v", crash, err)
		}
		p.died(t, h)
		died = true
		h = p.start(t, home, "")
		if err := do(); err != nil {
			t.Fatalf("%s, repeated: %v", crash, err)
		}
	}
	if !died {
		t.Errorf("%s: the crash point was not reached", crash)
	}
	if s := o.state(t, p.client(t, home)); s != types.KeyStateEnabled {
		t.Errorf("%s: the key is %s", crash, s)
	}
	return []*server{h, a}
}

// rotatingImported: a Region ends while it makes waiting material the current one. The rotation is whole or not there, and what
// was encrypted before it opens.
func rotatingImported(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, "")
	c := p.client(t, home)
	o := newOwner(t, c)
	if err := errors.Join(o.parameters(t, c), o.load(t, c, nil), o.use(t, c)); err != nil {
		t.Fatal(err)
	}
	o.material = []byte("fedcba9876543210fedcba9876543210")
	if err := o.parameters(t, c); err != nil {
		t.Fatal(err)
	}
	next, err := c.ImportKeyMaterial(t.Context(), &kms.ImportKeyMaterialInput{
		KeyId: &o.key, ImportToken: o.token, EncryptedKeyMaterial: o.wrapped, ImportType: types.ImportTypeNewKeyMaterial,
		ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.stop(t)
	h = p.start(t, home, crash)
	rotate := func() error {
		_, err := p.client(t, home).RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: &o.key})
		return err
	}
	if err := rotate(); err == nil {
		t.Errorf("%s: the crash point was not reached", crash)
	}
	p.died(t, h)
	h = p.start(t, home, "")
	c = p.client(t, home)
	var invalid *types.KMSInvalidStateException // it was rotated, and nothing waits any more
	if err := rotate(); err != nil && !errors.As(err, &invalid) {
		t.Errorf("%s: rotated again: %v", crash, err)
	}
	list, err := c.ListKeyRotations(t.Context(), &kms.ListKeyRotationsInput{KeyId: &o.key, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial})
	if err != nil || len(list.Rotations) != 2 || list.Rotations[1].KeyMaterialState != types.KeyMaterialStateCurrent ||
		*list.Rotations[1].KeyMaterialId != *next.KeyMaterialId || list.Rotations[0].KeyMaterialState != types.KeyMaterialStateNonCurrent {
		t.Errorf("%s: the key's materials are %+v, %v", crash, list, err)
	}
	err = o.use(t, c) // what was encrypted before
	o.blob = nil
	if err := errors.Join(err, o.use(t, c)); err != nil {
		t.Errorf("%s: %v", crash, err)
	}
	return []*server{h, a}
}

// expiring: a Region ends while it removes material whose time is over, or import parameters.
func expiring(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, "")
	o := newOwner(t, p.client(t, home))
	if err := o.parameters(t, p.client(t, home)); err != nil {
		t.Fatal(err)
	}
	if err := o.load(t, p.client(t, home), aws.Time(time.Now().Add(24*time.Hour))); err != nil {
		t.Fatal(err)
	}
	if err := o.use(t, p.client(t, home)); err != nil {
		t.Fatal(err)
	}
	h.stop(t)
	p.died(t, p.start(t, home, crash, ahead))
	h = p.start(t, home, "", ahead)
	for deadline := time.Now().Add(30 * time.Second); o.state(t, p.client(t, home)) != types.KeyStatePendingImport; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: the key is %s", crash, o.state(t, p.client(t, home)))
		}
	}
	var expired *types.ExpiredImportTokenException
	if err := o.load(t, p.client(t, home), nil); !errors.As(err, &expired) {
		t.Errorf("%s: an expired token: %v", crash, err)
	}
	if err := o.parameters(t, p.client(t, home)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(o.load(t, p.client(t, home), nil), o.use(t, p.client(t, home))); err != nil {
		t.Errorf("%s: imported again: %v", crash, err)
	}
	return []*server{h, a}
}

// rewrappingPair: a Region ends while it wraps a wrapping pair under another version of the domain key. The token is good
// before and afterwards, and the old version can be destroyed.
func rewrappingPair(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, "")
	o := newOwner(t, p.client(t, home))
	if err := o.parameters(t, p.client(t, home)); err != nil {
		t.Fatal(err)
	}
	p.run(t, home, "domain-key", "new", "--socket", p.socket(home))
	h.stop(t)
	h = p.start(t, home, crash)
	if out, err := p.command(t, home, "", "domain-key", "rewrap", "--socket", p.socket(home)).CombinedOutput(); err == nil {
		t.Errorf("%s: rewrapped: %s", crash, out)
	}
	p.died(t, h)
	h = p.start(t, home, "")
	p.run(t, home, "domain-key", "rewrap", "--socket", p.socket(home))
	p.run(t, home, "domain-key", "destroy", "1", "--socket", p.socket(home))
	if err := errors.Join(o.load(t, p.client(t, home), nil), o.use(t, p.client(t, home))); err != nil {
		t.Errorf("%s: %v", crash, err)
	}
	return []*server{h, a}
}
