package store

import "errors"

// What a caller branches on, with errors.Is. A missing file is also fs.ErrNotExist and an existing one fs.ErrExist.
var (
	// ErrSchemaNewer: the database was written by a newer program, and this one must not touch it.
	ErrSchemaNewer = errors.New("database has a newer schema than this program knows")
	// ErrNotAStore: the file is not a database of this program.
	ErrNotAStore = errors.New("not a Region's database")
	// ErrNotPrivate: others than the owner may read or write the file.
	ErrNotPrivate = errors.New("database file is accessible to others than its owner")
	// ErrSettings: the database did not take a setting that durability rests on.
	ErrSettings = errors.New("database does not keep a required setting")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrTxOver: a Reader or Tx was used after the function that it was given to had returned.
	ErrTxOver = errors.New("transaction is over")
	// ErrBadQuery: a query that can't be meant.
	ErrBadQuery = errors.New("bad query")
)
