package policy

// KeepsControl is AWS's lockout safety check: it reports whether a key policy that is about to be set lets the principal of
// the request call PutKeyPolicy afterwards, himself or by delegation to his account; whether an identity policy then allows
// it is not looked at. Of the request the principal, the resource, its account and the context count. Grants don't: none
// gives PutKeyPolicy.
func KeepsControl(d *Document, r *Request) bool {
	after := *r
	after.Action, after.KeyPolicy = "kms:PutKeyPolicy", d
	ev := evaluator{request: &after}
	if !ev.begin() || d == nil || d.kind != KeyPolicy || ev.caller.Account != after.ResourceAccount {
		return false
	}
	v := ev.document(d)
	return !v.denied && v.allowed > notConcerned
}
