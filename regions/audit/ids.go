package audit

import (
	"encoding/hex"
	"io"
	"sync"
)

// ids makes random event ids (UUIDs, version 4). It reads its source in blocks: ids are names, not secrets.
type ids struct {
	mu     sync.Mutex
	random io.Reader
	block  [1024]byte
	left   []byte
}

func (g *ids) next() (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.left) < 16 {
		if _, err := io.ReadFull(g.random, g.block[:]); err != nil {
			return "", err
		}
		g.left = g.block[:]
	}
	u := [16]byte(g.left)
	g.left = g.left[16:]
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	var s [36]byte
	hex.Encode(s[:8], u[:4])
	hex.Encode(s[9:13], u[4:6])
	hex.Encode(s[14:18], u[6:8])
	hex.Encode(s[19:23], u[8:10])
	hex.Encode(s[24:], u[10:])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:]), nil
}
