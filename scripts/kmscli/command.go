package main

import (
	"fmt"
	"strings"
)

// command is a parsed command line.
type command struct {
	endpoint, region string
	query, output    string
	operation        string    // CreateKey
	members          []operand // in the order given
}

// operand is one --flag with the values that followed it; a switch has none.
type operand struct {
	name   string // MultiRegion
	values []string
}

// parse reads the aws CLI's form: global flags and 'kms operation-name' in any order, then the operation's own.
func parse(args []string) (command, error) {
	cmd := command{output: "json"}
	globals := map[string]*string{
		"endpoint-url": &cmd.endpoint, "region": &cmd.region, "query": &cmd.query, "output": &cmd.output,
	}
	var words []string
	for i := 0; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "--")
		if !isFlag {
			words = append(words, args[i])
			continue
		}
		end := i + 1
		for end < len(args) && !strings.HasPrefix(args[end], "--") && len(words) == 2 {
			end++
		}
		if target, ok := globals[name]; ok {
			if i+1 == len(args) {
				return command{}, fmt.Errorf("--%s needs a value: %w", name, errUsage)
			}
			i++
			*target = args[i]
			continue
		}
		cmd.members = append(cmd.members, operand{name: camel(name), values: args[i+1 : end]})
		i = end - 1
	}
	if len(words) != 2 || words[0] != "kms" {
		return command{}, errUsage
	}
	if cmd.output != "json" && cmd.output != "text" {
		return command{}, fmt.Errorf("--output %s: %w", cmd.output, errUsage)
	}
	cmd.operation = camel(words[1])
	return cmd, nil
}

// camel turns the CLI's re-encrypt into the API's ReEncrypt.
func camel(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}
