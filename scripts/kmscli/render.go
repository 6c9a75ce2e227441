package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// render writes the answer as indented JSON without its empty members, or the one value that query, a path of member
// names, leads to: as JSON, or as bare text.
func render(out io.Writer, answer any, query, output string) error {
	encoded, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("render answer: %w", err)
	}
	var tree any
	if err := json.Unmarshal(encoded, &tree); err != nil {
		return fmt.Errorf("render answer: %w", err)
	}
	if members, ok := tree.(map[string]any); ok {
		delete(members, "ResultMetadata")
	}
	tree = prune(tree)
	if query != "" {
		for name := range strings.SplitSeq(query, ".") {
			members, ok := tree.(map[string]any)
			if !ok {
				tree = nil
				break
			}
			tree = members[name]
		}
	}
	if output == "text" {
		return renderText(out, tree)
	}
	pretty, err := json.MarshalIndent(tree, "", "    ")
	if err != nil {
		return fmt.Errorf("render answer: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", pretty)
	return err
}

// renderText writes a single value; a structure has no text form that a script could rely on.
func renderText(out io.Writer, value any) error {
	switch value.(type) {
	case map[string]any, []any:
		return fmt.Errorf("--output text needs a --query that leads to one value: %w", errUsage)
	case nil:
		value = "None" // as the aws CLI writes it
	}
	_, err := fmt.Fprintln(out, value)
	return err
}

// prune drops members that are null or empty strings: the SDK's structs have every member, the answer did not.
func prune(tree any) any {
	switch node := tree.(type) {
	case map[string]any:
		for name, child := range node {
			if child = prune(child); child == nil || child == "" {
				delete(node, name)
			} else {
				node[name] = child
			}
		}
	case []any:
		for i := range node {
			node[i] = prune(node[i])
		}
	}
	return tree
}
