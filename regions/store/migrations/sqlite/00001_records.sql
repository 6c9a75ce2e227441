-- +goose Up
-- One table holds every record of a Region. Keys are byte strings: they sort and compare byte by byte, whatever the
-- locale, and may hold any byte.
--
-- The statements of this package are the same for PostgreSQL. A migration is not: there, BLOB is BYTEA, INTEGER is
-- BIGINT, and STRICT and WITHOUT ROWID are left out.
CREATE TABLE records (
    kind    BLOB    NOT NULL,
    account BLOB    NOT NULL,
    id      BLOB    NOT NULL,
    sub     BLOB    NOT NULL,
    ref     BLOB    NOT NULL,
    due     INTEGER NOT NULL,
    body    BLOB    NOT NULL,
    mac     BLOB    NOT NULL,
    PRIMARY KEY (kind, account, id, sub)
) STRICT, WITHOUT ROWID;

-- The primary key's columns follow the searched one, so that a look-up by ref is already in order.
CREATE INDEX records_by_ref ON records (kind, ref, account, id, sub) WHERE length(ref) > 0;

CREATE INDEX records_by_due ON records (kind, due) WHERE due > 0;

-- The planner, knowing nothing of the data, would rather read all of a kind than use an index. These numbers tell it
-- what to expect (https://www.sqlite.org/fileformat2.html#stat1tab: rows, then rows for each longer part of the key);
-- nothing runs ANALYZE later, so that plans never change under load. PostgreSQL keeps its own statistics.
ANALYZE sqlite_schema;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('records', 'records', '1000000 250000 10000 2 1'),
    ('records', 'records_by_ref', '500000 125000 3 3 2 1'),
    ('records', 'records_by_due', '1000 250 1 1 1 1');
