package rest

import "strings"

// Way is a route as tests see it.
type Way struct {
	Name, Operation, Method, Path string
	Built, InQuery                bool
	Variables                     []string
}

// Ways are all routes.
func Ways() ([]Way, error) {
	ends, err := endpoints()
	if err != nil {
		return nil, err
	}
	var out []Way
	for _, e := range ends {
		out = append(out, Way{
			e.route.name(), e.route.operation, e.route.method, e.route.path, e.bound.op.Built(), e.route.inQuery(), variables(e.route.path),
		})
	}
	return out, nil
}

// In gives the way's path for these values of its variables, which are percent-encoded.
func (w Way) In(values map[string]string) string {
	path := w.Path
	for _, name := range w.Variables {
		path = strings.Replace(path, "{"+name+"}", values[name], 1)
	}
	return path
}

// Batches are the names and paths of the batch forms.
func Batches() map[string]string {
	out := map[string]string{}
	for _, b := range batches() {
		out[b.name()] = b.path()
	}
	return out
}
