// Package replication moves key material from one Region's token to another's: the exchange of package wire's messages,
// as steps that are each durable before the next begins.
//
//	source                                        destination
//	 offered      -- m1 Offer ------------------>  checks; makes RAKB; reserves the key id
//	              <----------------- m2 Accept --  reserved
//	 membership of the destination is committed
//	 accepted     makes RAKA and RWK, wraps
//	 transferred  -- m3 Transfer --------------->  makes RWK, unwraps, checks, wraps under its own domain key
//	              <---------------- m4 Receipt --  finished
//	 finished
//
// Invariants:
//   - A message is verified (package wire) before anything of it is used, and before the token is asked for anything.
//   - The destination is a member of the key set before material leaves the source, and stays one until it has proved
//     that it holds nothing: so a rotation never passes a replica by.
//   - What was sent is sent again byte by byte. A repeat in a finished exchange gets the stored answer and touches no
//     token.
//   - RAKA and RAKB make one RWK each and are destroyed; all three live in a session of their own that is closed with
//     the exchange. A RAKB that died with its process ends the exchange ("exchange lost"), and the source begins a new
//     one under the same intent.
//   - What the destination holds after an exchange (keys, state, receipt) it committed in one transaction.
//
// A [Node] reads no clock and no network of its own: they are given to it, and every step is a function that is called
// with a message and returns one.
package replication
