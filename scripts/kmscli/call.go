package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// call fills the input of the client's method cmd.operation by reflection and calls it. It returns the pointer to the
// output, or errUsage if the SDK has no such method or its input no such member.
func call(ctx context.Context, client *kms.Client, cmd command) (any, error) {
	method := reflect.ValueOf(client).MethodByName(cmd.operation)
	// func(context.Context, *kms.XInput, ...func(*kms.Options)) (*kms.XOutput, error)
	if !method.IsValid() || method.Type().NumIn() != 3 || method.Type().NumOut() != 2 {
		return nil, fmt.Errorf("invalid choice of operation %s: %w", cmd.operation, errUsage)
	}
	input := reflect.New(method.Type().In(1).Elem())
	for _, m := range cmd.members {
		name, values := m.name, m.values
		if negated, ok := strings.CutPrefix(name, "No"); ok && len(values) == 0 {
			name, values = negated, []string{"false"}
		}
		field := input.Elem().FieldByName(name)
		if !field.IsValid() || !field.CanSet() {
			return nil, fmt.Errorf("%s has no member %s: %w", cmd.operation, name, errUsage)
		}
		if err := set(field, values); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	results := method.Call([]reflect.Value{reflect.ValueOf(ctx), input})
	if err, failed := results[1].Interface().(error); failed {
		return nil, err
	}
	return results[0].Interface(), nil
}

// set gives field the values of one flag: a switch, a string or number, bytes (raw text or fileb://), a list of strings,
// or a map written as key=value,key=value.
func set(field reflect.Value, values []string) error {
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	if field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.String {
		for _, v := range values {
			field.Set(reflect.Append(field, reflect.ValueOf(v).Convert(field.Type().Elem())))
		}
		return nil
	}
	if field.Kind() == reflect.Bool && len(values) == 0 {
		field.SetBool(true)
		return nil
	}
	if len(values) != 1 {
		return fmt.Errorf("one value expected, %d given: %w", len(values), errUsage)
	}
	value, err := load(values[0])
	if err != nil {
		return err
	}
	switch {
	case field.Kind() == reflect.String:
		field.SetString(value)
	case field.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("not a boolean: %w", errUsage)
		}
		field.SetBool(b)
	case field.CanInt():
		n, err := strconv.ParseInt(value, 10, field.Type().Bits())
		if err != nil {
			return fmt.Errorf("not a number: %w", errUsage)
		}
		field.SetInt(n)
	case field.Type() == reflect.TypeFor[[]byte]():
		field.SetBytes([]byte(value))
	case field.Type() == reflect.TypeFor[map[string]string]():
		pairs := map[string]string{}
		for pair := range strings.SplitSeq(value, ",") {
			k, v, ok := strings.Cut(pair, "=")
			if !ok {
				return fmt.Errorf("key=value expected: %w", errUsage)
			}
			pairs[k] = v
		}
		field.Set(reflect.ValueOf(pairs))
	default:
		return fmt.Errorf("members of type %s can't be given: %w", field.Type(), errUsage)
	}
	return nil
}

// load returns value itself, or the contents of the file that it names by file:// or fileb://.
func load(value string) (string, error) {
	for _, prefix := range []string{"fileb://", "file://"} {
		if path, ok := strings.CutPrefix(value, prefix); ok {
			data, err := os.ReadFile(path) //nolint:gosec // reading the file that the user names is the point
			return string(data), err
		}
	}
	return value, nil
}
