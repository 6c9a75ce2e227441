package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"antipode/regions/secret"
)

// maxCredentials bounds the credentials file, in bytes.
const maxCredentials = 1 << 20

// Profile is one profile of an AWS shared-credentials file.
type Profile struct {
	Name        string // "default", or a user's name
	AccessKeyID string
	Secret      Secret
}

// WriteCredentials writes an AWS shared-credentials file with these profiles and no others, readable by its owner only.
// It is there whole or as it was before, also after a loss of power. It returns an error that wraps [ErrInvalid] if a
// profile is not well-formed or is there twice.
func WriteCredentials(path string, profiles []Profile) (err error) {
	text, err := formatCredentials(profiles)
	if err != nil {
		return err
	}
	defer clear(text)
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, ".credentials-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	defer func() {
		if err != nil {
			// After a failure what matters is the failure.
			_ = temp.Close()
			_ = os.Remove(temp.Name())
		}
	}()
	if _, err = temp.Write(text); err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	if err = temp.Sync(); err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	if err = temp.Close(); err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	if err = os.Rename(temp.Name(), path); err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	return syncDir(dir)
}

func syncDir(path string) error {
	dir, err := os.Open(filepath.Clean(path))
	if err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	return nil
}

func formatCredentials(profiles []Profile) ([]byte, error) {
	var b bytes.Buffer
	seen := map[string]bool{}
	for i, p := range profiles {
		if err := ValidateUserName(p.Name); err != nil {
			return nil, fmt.Errorf("write credentials: profile %q: %w", p.Name, err)
		}
		if !ValidAccessKeyID(p.AccessKeyID) || !validSecret(p.Secret.Reveal()) {
			return nil, fmt.Errorf("write credentials: profile %q: %w: not an access key", p.Name, ErrInvalid)
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("write credentials: profile %q: %w: it is there twice", p.Name, ErrInvalid)
		}
		seen[p.Name] = true
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("[" + p.Name + "]\naws_access_key_id = " + p.AccessKeyID + "\naws_secret_access_key = ")
		b.Write(p.Secret.Reveal())
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// ReadCredentials reads a file of [WriteCredentials], in its order; other settings, comments and blank lines are skipped.
// A file that is not there gives no profiles. It returns an error that wraps [ErrInvalid] if the file is not of this
// form, a profile lacks either half of its key, or one is there twice.
func ReadCredentials(path string) ([]Profile, error) {
	file, err := os.Open(filepath.Clean(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxCredentials+1))
	defer clear(text)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	if len(text) > maxCredentials {
		return nil, fmt.Errorf("read credentials: %w: the file is too long", ErrInvalid)
	}
	profiles, err := parseCredentials(text)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	return profiles, nil
}

// parseCredentials names lines and profiles in its errors, never what they hold.
func parseCredentials(text []byte) ([]Profile, error) {
	var profiles []Profile
	seen := map[string]bool{}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[':
			name := strings.TrimSpace(strings.TrimSuffix(string(line[1:]), "]"))
			if line[len(line)-1] != ']' || ValidateUserName(name) != nil || seen[name] {
				return nil, fmt.Errorf("%w: line %d: no profile of this name can begin here", ErrInvalid, number)
			}
			seen[name] = true
			profiles = append(profiles, Profile{Name: name})
			continue
		}
		name, value, ok := bytes.Cut(line, []byte("="))
		if !ok || len(profiles) == 0 {
			return nil, fmt.Errorf("%w: line %d is no setting of a profile", ErrInvalid, number)
		}
		value = bytes.TrimSpace(value)
		p := &profiles[len(profiles)-1]
		switch string(bytes.TrimSpace(name)) {
		case "aws_access_key_id":
			if p.AccessKeyID != "" || !ValidAccessKeyID(string(value)) {
				return nil, fmt.Errorf("%w: line %d: not an access key id, or a second one", ErrInvalid, number)
			}
			p.AccessKeyID = string(value)
		case "aws_secret_access_key":
			if p.Secret.Reveal() != nil || !validSecret(value) {
				return nil, fmt.Errorf("%w: line %d: not a secret access key, or a second one", ErrInvalid, number)
			}
			p.Secret = secret.Of(bytes.Clone(value))
		}
	}
	for _, p := range profiles {
		if p.AccessKeyID == "" || p.Secret.Reveal() == nil {
			return nil, fmt.Errorf("%w: profile %q has no key or half a key", ErrInvalid, p.Name)
		}
	}
	return profiles, nil
}
