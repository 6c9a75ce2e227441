package policy

// Finding is a statement that applies to a request.
type Finding struct {
	Document  Kind
	Index     int    // which of the request's documents of this kind, from 0
	Statement int    // which of its statements, from 1 as errors count them
	Sid       string // "" if it has none
	Deny      bool
	// Delegates says that it allows by naming the caller's account, so that identity policies have to allow it too.
	Delegates bool
}

// Explanation is a decision with what led to it.
type Explanation struct {
	Decision
	// Findings are all statements that apply, those that were outweighed included: the key policy's, then those of
	// identity policies, then those of session policies.
	Findings []Finding
	// GrantID is the grant that decided, "" if none did.
	GrantID string
}

// Explain answers as [Decide] does, and says which statements apply. It is for administrators: a client must not see it.
func Explain(r *Request) Explanation {
	ev := evaluator{request: r}
	d, g := ev.decide()
	e := Explanation{Decision: d}
	if g != nil {
		e.GrantID = g.ID
	}
	if d.Reason == NoRequest {
		return e
	}
	e.add(&ev, r.KeyPolicy, 0)
	e.identities(&ev)
	return e
}

// ExplainIdentity is [Explain] for [DecideIdentity].
func ExplainIdentity(r *Request) Explanation {
	e := Explanation{Decision: DecideIdentity(r)}
	ev := evaluator{request: r}
	if ev.begin() {
		e.identities(&ev)
	}
	return e
}

func (e *Explanation) identities(ev *evaluator) {
	for i, d := range ev.request.Identity {
		e.add(ev, d, i)
	}
	for i, d := range ev.request.Session {
		e.add(ev, d, i)
	}
}

func (e *Explanation) add(ev *evaluator, d *Document, index int) {
	for i := range d.statements {
		s := &d.statements[i]
		l := s.applies(ev)
		if l == notConcerned {
			continue
		}
		e.Findings = append(e.Findings, Finding{
			Document: d.kind, Index: index, Statement: i + 1, Sid: s.sid, Deny: s.deny,
			Delegates: !s.deny && l == byAccount,
		})
	}
}
