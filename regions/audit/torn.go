package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// cutAt keeps what the file has from offset on in a file beside it, NAME.torn-1 or the next free number, and cuts it
// off. The copy is on disk before anything is cut.
func (f logFile) cutAt(offset int64) (err error) {
	file, err := os.OpenFile(f.path(), os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	if err := f.keep(file); err != nil {
		return fmt.Errorf("keep incomplete record: %w", err)
	}
	if err := file.Truncate(offset); err != nil {
		return err
	}
	return file.Sync()
}

func (f logFile) keep(from io.Reader) error {
	for n := 1; ; n++ {
		torn, err := os.OpenFile(fmt.Sprintf("%s.torn-%d", f.path(), n), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = io.Copy(torn, from)
		return errors.Join(err, torn.Sync(), torn.Close(), syncDir(f.dir))
	}
}

// lastRecord answers the last record of a file that is complete.
func (f logFile) lastRecord() (Record, error) {
	file, err := os.Open(f.path())
	if err != nil {
		return Record{}, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return Record{}, err
	}
	n := min(info.Size(), MaxLineBytes+1)
	b := make([]byte, n)
	if _, err := file.ReadAt(b, info.Size()-n); err != nil {
		return Record{}, err
	}
	r, err := ParseRecord(lastLine(b))
	if err != nil {
		return Record{}, &BadRecordError{File: f.name(), Reason: "its last record: " + err.Error(), Err: ErrCorrupt}
	}
	return r, nil
}

// lastLine is b from after its last newline but one.
func lastLine(b []byte) []byte {
	for i := len(b) - 2; i >= 0; i-- {
		if b[i] == '\n' {
			return b[i+1:]
		}
	}
	return b
}
