package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"antipode/regions"
)

// The verdicts on a property.
const (
	driftSame      = "SAME"
	driftDifferent = "DIFFERENT"
	driftUnknown   = "UNKNOWN" // a Region did not answer, or may not be asked by the caller
)

// driftReport says what differs between the related keys of a multi-Region key.
type driftReport struct {
	KeyID      string          `json:"KeyId"`
	Regions    []string        `json:"Regions"` // the primary first
	Properties []driftProperty `json:"Properties"`
}

// driftProperty is one property that every Region has for itself.
type driftProperty struct {
	Name    string            `json:"Name"`
	Verdict string            `json:"Verdict"`
	Values  map[string]string `json:"Values"`           // by Region, in a form in which equal things are equal texts
	Errors  map[string]string `json:"Errors,omitempty"` // by Region: why it is not known there
}

func driftCommand() *cobra.Command {
	var f restFlags
	var at map[string]string
	cmd := &cobra.Command{
		Use: "drift KEY", Short: "Show what differs between the related keys of a multi-Region key", Args: cobra.ExactArgs(1),
		Long: `Shows what differs between the Regions of a key: state, description, policy, tags, aliases and grants are each Region's own,
and nothing synchronises them. Each Region is asked by calls of the caller's own (DescribeKey, GetKeyPolicy, ListResourceTags,
ListAliases, ListGrants): what he may not read there is UNKNOWN, and nobody reads it for him. Regions are asked at --endpoint
unless --at says where they answer.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.validate(); err != nil {
				return err
			}
			report, err := drift(cmd.Context(), f, at, args[0])
			if err != nil {
				return err
			}
			if f.asJSON {
				return json.MarshalWrite(cmd.OutOrStdout(), report, jsontext.WithIndent("  "), json.Deterministic(true))
			}
			return printDrift(cmd, report)
		},
	}
	f.add(cmd)
	cmd.Flags().StringToStringVar(&at, "at", nil, "REGION=URL of a Region that does not answer at --endpoint; may be repeated")
	return cmd
}

// drift asks every Region of a key.
func drift(ctx context.Context, f restFlags, at map[string]string, key string) (driftReport, error) {
	var r driftReport
	var described regions.DescribeKeyOutput
	if err := restGet(ctx, f.endpoint, f.region, "/keys/"+url.PathEscape(key), &described); err != nil {
		return r, err
	}
	m := described.KeyMetadata
	if m.MultiRegionConfiguration == nil {
		return r, fmt.Errorf("%s is not a multi-Region key", m.Arn)
	}
	r.KeyID, r.Regions = m.KeyID, []string{m.MultiRegionConfiguration.PrimaryKey.Region}
	for _, replica := range m.MultiRegionConfiguration.ReplicaKeys {
		r.Regions = append(r.Regions, replica.Region)
	}
	for _, p := range driftProperties {
		one := driftProperty{Name: p.name, Values: map[string]string{}, Errors: map[string]string{}}
		for _, region := range r.Regions {
			endpoint := cmp.Or(at[region], f.endpoint)
			value, err := p.read(ctx, restRegion{endpoint, region}, r.KeyID)
			var refused *restError
			switch {
			case err == nil:
				one.Values[region] = value
			case errors.As(err, &refused):
				one.Errors[region] = refused.code
			default:
				one.Errors[region] = err.Error()
			}
		}
		one.judge()
		r.Properties = append(r.Properties, one)
	}
	return r, nil
}

// judge compares what is known. Two values that differ are a difference whatever is unknown.
func (p *driftProperty) judge() {
	p.Verdict = driftSame
	if len(p.Errors) > 0 {
		p.Verdict = driftUnknown
	}
	var first *string
	for _, v := range p.Values {
		if first != nil && *first != v {
			p.Verdict = driftDifferent
		}
		first = &v
	}
}

// restRegion is where a Region answers.
type restRegion struct{ endpoint, region string }

func (r restRegion) get(ctx context.Context, path string, out any) error {
	return restGet(ctx, r.endpoint, r.region, path, out)
}

// driftProperties are what each Region has for itself.
var driftProperties = []struct {
	name string
	read func(ctx context.Context, r restRegion, key string) (string, error)
}{
	{"state", func(ctx context.Context, r restRegion, key string) (string, error) {
		var out regions.DescribeKeyOutput
		err := r.get(ctx, "/keys/"+key, &out)
		return string(out.KeyMetadata.KeyState), err
	}},
	{"description", func(ctx context.Context, r restRegion, key string) (string, error) {
		var out regions.DescribeKeyOutput
		err := r.get(ctx, "/keys/"+key, &out)
		return out.KeyMetadata.Description, err
	}},
	{"policy", func(ctx context.Context, r restRegion, key string) (string, error) {
		var out regions.GetKeyPolicyOutput
		if err := r.get(ctx, "/keys/"+key+"/policy", &out); err != nil {
			return "", err
		}
		document := jsontext.Value(out.Policy)
		err := document.Canonicalize()
		return string(document), err
	}},
	{"tags", func(ctx context.Context, r restRegion, key string) (string, error) {
		return listed(func(marker string) ([]string, string, error) {
			var out regions.ListResourceTagsOutput
			err := r.get(ctx, "/keys/"+key+"/tags?Limit=50"+marker, &out)
			return texts(out.Tags, func(t regions.Tag) string { return t.TagKey + "=" + t.TagValue }), out.NextMarker, err
		})
	}},
	{"aliases", func(ctx context.Context, r restRegion, key string) (string, error) {
		return listed(func(marker string) ([]string, string, error) {
			var out regions.ListAliasesOutput
			err := r.get(ctx, "/aliases?KeyId="+key+marker, &out)
			return texts(out.Aliases, func(a regions.AliasListEntry) string { return a.AliasName }), out.NextMarker, err
		})
	}},
	{"grants", func(ctx context.Context, r restRegion, key string) (string, error) {
		return listed(func(marker string) ([]string, string, error) {
			var out regions.ListGrantsOutput
			err := r.get(ctx, "/keys/"+key+"/grants?Limit=100"+marker, &out)
			return texts(out.Grants, grantText), out.NextMarker, err
		})
	}},
}

// grantText is a grant without what is of its Region: its id, its key's ARN and when it was made.
func grantText(g regions.GrantListEntry) string {
	text := fmt.Sprintf("%s may %s", g.GranteePrincipal, strings.Join(g.Operations, " "))
	if g.Name != "" {
		text += fmt.Sprintf(" name %q", g.Name)
	}
	if g.RetiringPrincipal != "" {
		text += " retired by " + g.RetiringPrincipal
	}
	if g.Constraints != nil {
		raw, err := json.Marshal(g.Constraints, json.Deterministic(true))
		if err != nil {
			raw = []byte(err.Error())
		}
		text += " if " + string(raw)
	}
	return text
}

func texts[T any](list []T, text func(T) string) (out []string) {
	for _, one := range list {
		out = append(out, text(one))
	}
	return out
}

// listed reads all pages of a list and puts them in order, one to a line.
func listed(page func(marker string) ([]string, string, error)) (string, error) {
	var all []string
	for marker := ""; ; {
		part, next, err := page(marker)
		if err != nil {
			return "", err
		}
		all = append(all, part...)
		if next == "" {
			slices.Sort(all)
			return strings.Join(all, "\n"), nil
		}
		marker = "&Marker=" + url.QueryEscape(next)
	}
}

func printDrift(cmd *cobra.Command, r driftReport) error {
	lines := []string{fmt.Sprintf("%s in %s", r.KeyID, strings.Join(r.Regions, ", "))}
	for _, p := range r.Properties {
		lines = append(lines, fmt.Sprintf("%-12s %s", p.Name, p.Verdict))
		if p.Verdict == driftSame {
			continue
		}
		for _, region := range r.Regions {
			if why, unknown := p.Errors[region]; unknown {
				lines = append(lines, fmt.Sprintf("  %s: not known: %s", region, why))
				continue
			}
			value := strings.ReplaceAll(p.Values[region], "\n", "\n    ")
			if value == "" {
				value = "(none)"
			}
			lines = append(lines, fmt.Sprintf("  %s: %s", region, value))
		}
	}
	return printLines(cmd, lines...)
}
