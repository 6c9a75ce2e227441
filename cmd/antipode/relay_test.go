package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// startRelay runs a relay with places for these Regions, and returns its TLS key and address.
func startRelay(t *testing.T, dir, listen string, regions map[string]string) (p *program, key, address string) {
	t.Helper()
	text := fmt.Sprintf("listen: %s\nidentity: %s\nregions:\n", listen, filepath.Join(dir, "relay.pem"))
	for region, key := range regions {
		text += fmt.Sprintf("  %s: %s\n", region, key)
	}
	config := filepath.Join(dir, "relay.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p = launch(t, "relay", "--config", config)
	line, err := p.out.ReadString('\n')
	key, found := strings.CutPrefix(strings.TrimSpace(line), "tls_key ")
	if !found || err != nil {
		t.Fatalf("the relay says %q, %v\n%s", line, err, p.stderr(t))
	}
	if err := p.waitReady(); err != nil {
		t.Fatal(err)
	}
	return p, key, p.origin
}

// Two Regions that nobody can connect to replicate keys through a relay; it is stopped and started again meanwhile.
func TestRelay(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	// The relay first, with places for nobody: its key goes into the Regions' configuration, and theirs into its own.
	relay, key, address := startRelay(t, dir, "127.0.0.1:0", nil)
	p := &pairOfSites{sites: map[string]*site{}, serves: map[string]*program{}, files: folder(t)}
	shared := filepath.Join(dir, "credentials")
	shown, keys := map[string]string{}, map[string]string{}
	for region, other := range map[string]string{east: west, west: east} {
		s := newSite(t)
		s.write(t, region, func(text string) string {
			text = strings.Replace(text, "peer_listen: 127.0.0.1:0\npeer_endpoint: https://127.0.0.1:4570\n", "", 1)
			return text + fmt.Sprintf("relay:\n  address: %s\n  tls_key: %s\n  regions: [%s]\n", address, key, other)
		})
		s.init(t, "--credentials", shared)
		p.sites[region] = s
		p.start(t, region)
		shown[region] = p.run(t, region, "region", "show")
		keys[region] = word(t, shown[region], "tls_key")
	}
	for into, other := range map[string]string{east: west, west: east} {
		p.run(t, into, "region", "trust", "--entry", word(t, shown[other], "entry"), "--fingerprint",
			word(t, shown[other], "fingerprint"), "--accounts", "111122223333")
	}
	client := func(region string) *kms.Client { return clientOf(t, p.serves[region].origin, shared, region) }
	id, sealed := makeKey(t, client(east), true)
	other := west
	if _, err := client(east).ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: &id, ReplicaRegion: &other}); err == nil {
		t.Error("replicated through a relay at which the Regions have no place")
	}
	reached := func(with *kms.Client, to string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
		defer cancel()
		for ctx.Err() == nil { // the Regions connect again after a pause
			made, blob := makeKey(t, with, true)
			_, err := with.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &made, ReplicaRegion: &to})
			if err == nil {
				opens(t, client(to), blob)
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
		t.Fatalf("%s is not reached", to)
	}
	relay.stop(t)
	relay, again, _ := startRelay(t, dir, address, keys)
	if again != key {
		t.Errorf("the relay's key was %s and is %s", key, again)
	}
	reached(client(east), west)
	reached(client(west), east)
	replicate(t, client(east), id, west)
	opens(t, client(west), sealed)

	relay.kill(t)
	startRelay(t, dir, address, keys)
	reached(client(east), west)
}

// A relay's configuration is checked as a whole.
func TestRelayConfig(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":  {"listen: 127.0.0.1:0\nidentity: /x\ntoken: y\n", "token"},
		"no key":         {"listen: 127.0.0.1:0\nidentity: /x\nregions: {us-east-2: abc}\n", "64 hex digits"},
		"no region":      {"listen: 127.0.0.1:0\nidentity: /x\nregions: {mars: " + strings.Repeat("a", 64) + "}\n", `"mars"`},
		"one key twice":  {"listen: 127.0.0.1:0\nidentity: /x\nregions: {us-east-2: " + strings.Repeat("a", 64) + ", us-west-1: " + strings.Repeat("a", 64) + "}\n", "same TLS key"},
		"relative paths": {"listen: 127.0.0.1:0\nidentity: x\n", "absolute"},
		"no address":     {"identity: /x\n", "listen"},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		fails(t, []string{"relay", "--config", path}, c.want)
	}
}
