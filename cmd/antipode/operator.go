package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"antipode/regions/keyset"
	"antipode/regions/roster"
)

// operatorCommand is about the operators who approve what only a quorum of them may decide.
func operatorCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "operator", Short: "The operators whose quorum decides, their keys and approvals"}
	cmd.AddCommand(operatorKeygenCommand(), operatorProposeCommand(), operatorShowCommand(), operatorApproveCommand(),
		operatorEnrolCommand())
	return cmd
}

func operatorKeygenCommand() *cobra.Command {
	var out, name, passphraseFile string
	var clearKey bool
	cmd := &cobra.Command{
		Use: "keygen", Args: cobra.NoArgs,
		Short: "Make an operator's key (Ed25519)",
		Long: `Writes a new private key to a file of mode 0600 and prints the public key, which the other operators are told by a way that
nobody can alter. The file is PKCS #8 under the passphrase that --passphrase-file holds; 'openssl pkey' reads it. Keep it
where nobody who runs a Region gets at it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" || name == "" || strings.Contains(name, "=") {
				return errors.New("--out and --name are required: the new file, and what people call the operator (without '=')")
			}
			if (passphraseFile == "") != clearKey {
				return errors.New("one of --passphrase-file and --no-passphrase is required")
			}
			passphrase, err := readPassphrase(passphraseFile)
			if err != nil {
				return err
			}
			defer clear(passphrase)
			public, key, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				return err
			}
			defer clear(key)
			file, err := marshalOperatorKey(key, passphrase)
			if err != nil {
				return err
			}
			defer clear(file)
			if err := writeNew(out, file); err != nil {
				return err
			}
			return printLines(cmd, "wrote "+out, "operator "+name+"="+base64.StdEncoding.EncodeToString(public))
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the new file of the private key (required)")
	cmd.Flags().StringVar(&name, "name", "", "what people call the operator (required)")
	cmd.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file with the passphrase, at least 8 bytes, mode 0600 or 0400")
	cmd.Flags().BoolVar(&clearKey, "no-passphrase", false, "leave the private key in clear: the file is on a medium that is locked away")
	return cmd
}

func operatorProposeCommand() *cobra.Command {
	var socket, out string
	var keys []string
	var quorum uint64
	cmd := &cobra.Command{
		Use: "propose", Args: cobra.NoArgs,
		Short: "Write down who is to be operator from now on",
		Long: `Writes a file with all operators that there are to be, and how many of them must approve. Without --socket they are the
first ones: each Region is given them with 'antipode operator enrol' and their fingerprint. With --socket they follow those
that the Region has, who approve the file with 'antipode operator approve'.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" || len(keys) == 0 || quorum == 0 {
				return errors.New("--out, --operator and --quorum are required")
			}
			var held operatorsAnswer
			if socket != "" {
				if err := adminCall(cmd.Context(), socket, http.MethodGet, "/v1/operators", nil, &held); err != nil {
					return err
				}
			}
			sets, err := held.sets()
			if err != nil {
				return err
			}
			var list []roster.OperatorKey
			for _, text := range keys {
				k, err := parseOperator(text)
				if err != nil {
					return err
				}
				list = append(list, k)
			}
			next, err := roster.NextOperators(sets, quorum, list)
			if err != nil {
				return err
			}
			req, err := roster.NewOperatorsRequest(append(sets, next))
			if err != nil {
				return err
			}
			file, err := req.Encode()
			if err != nil {
				return err
			}
			if err := writeNew(out, file); err != nil {
				return err
			}
			lines, err := describeOperators(next)
			return errors.Join(err, printLines(cmd, append([]string{"wrote " + out}, lines...)...))
		},
	}
	f := cmd.Flags()
	f.StringVar(&socket, "socket", "", "admin socket of a running Region that has operators already")
	f.StringVar(&out, "out", "", "the new file (required)")
	f.StringArrayVar(&keys, "operator", nil, "NAME=PUBLICKEY, as keygen printed it; once for each (required)")
	f.Uint64Var(&quorum, "quorum", 0, "how many must approve, more than half of them (required)")
	return cmd
}

func operatorShowCommand() *cobra.Command {
	var socket, out string
	cmd := &cobra.Command{
		Use: "show", Args: cobra.NoArgs,
		Short: "Print the operators that a Region knows",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var a operatorsAnswer
			if err := adminCall(cmd.Context(), socket, http.MethodGet, "/v1/operators", nil, &a); err != nil {
				return err
			}
			sets, err := a.sets()
			if err != nil {
				return err
			}
			if len(sets) == 0 {
				return printLines(cmd, "no operators")
			}
			lines, err := describeOperators(sets[len(sets)-1])
			if err != nil {
				return err
			}
			if out != "" {
				if err := writeNew(out, a.File); err != nil {
					return err
				}
				lines = append(lines, "wrote "+out)
			}
			return printLines(cmd, lines...)
		},
	}
	cmd.Flags().StringVar(&socket, "socket", "", "admin socket of the running Region, DATA/admin.sock (required)")
	cmd.Flags().StringVar(&out, "out", "", "a new file to write them to, for 'antipode operator enrol' in another Region")
	return cmd
}

func operatorApproveCommand() *cobra.Command {
	var keyFile, passphraseFile, out string
	var yes bool
	cmd := &cobra.Command{
		Use: "approve REQUEST", Args: cobra.ExactArgs(1),
		Short: "Approve a request with an operator's key",
		Long: `Shows what the request is about, asks, signs it with the operator's key and writes the approval to a new file. It needs no
Region and no network. What is shown is what is signed: check it against what you were told by another way.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if keyFile == "" || out == "" {
				return errors.New("--key and --out are required: the operator's private key, and the new file of the approval")
			}
			file, err := readUpTo(args[0], roster.MaxApprovalFile)
			if err != nil {
				return err
			}
			req, err := roster.DecodeRequest(file)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			lines, err := describeRequest(req)
			if err != nil {
				return err
			}
			if err := printLines(cmd, lines...); err != nil {
				return err
			}
			if !yes {
				if err := printLines(cmd, "Approve this? Type yes:"); err != nil {
					return err
				}
				answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
				if strings.TrimSpace(answer) != "yes" {
					return errors.Join(errors.New("not approved"), err)
				}
			}
			key, err := readOperatorKey(keyFile, passphraseFile)
			if err != nil {
				return err
			}
			defer clear(key)
			a, err := req.Approve(key)
			if err != nil {
				return err
			}
			if file, err = a.Encode(); err != nil {
				return err
			}
			if err := writeNew(out, file); err != nil {
				return err
			}
			return printLines(cmd, fmt.Sprintf("approved by operator %x", a.Approval.Operator), "wrote "+out)
		},
	}
	f := cmd.Flags()
	f.StringVar(&keyFile, "key", "", "the operator's private key, mode 0600 or 0400 (required)")
	f.StringVar(&passphraseFile, "passphrase-file", "", "file with its passphrase, mode 0600 or 0400")
	f.StringVar(&out, "out", "", "the new file of the approval (required)")
	f.BoolVar(&yes, "yes", false, "don't ask: somebody has looked at the request")
	return cmd
}

func operatorEnrolCommand() *cobra.Command {
	var socket, in string
	var req operatorsRequest
	var approvals []string
	cmd := &cobra.Command{
		Use: "enrol", Args: cobra.NoArgs,
		Short: "Give a Region the operators whose quorum decides",
		Long: `Gives a Region the operators in a file that 'operator propose' or 'operator show --out' wrote. A Region that has none takes
them by their fingerprint, which is read out by a way that nobody can alter. A Region that has operators takes others only
with a quorum of approvals by those that it has, each in a file that 'operator approve' wrote; the other Regions that have
the same ones are told by it.`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if in == "" {
				return errors.New("--in is required: the file with the operators")
			}
			if req.File, err = readUpTo(in, roster.MaxApprovalFile); err != nil {
				return err
			}
			if req.Approvals, err = readApprovals(approvals); err != nil {
				return err
			}
			var a operatorsAnswer
			if err := adminCallUpTo(cmd.Context(), 2*roster.MaxApprovalFile, socket, http.MethodPost, "/v1/operators", req, &a); err != nil {
				return err
			}
			sets, err := a.sets()
			if err != nil || len(sets) == 0 {
				return errors.Join(err, errors.New("the Region has no operators"))
			}
			lines, err := describeOperators(sets[len(sets)-1])
			return errors.Join(err, printLines(cmd, lines...))
		},
	}
	f := cmd.Flags()
	f.StringVar(&socket, "socket", "", "admin socket of the running Region, DATA/admin.sock (required)")
	f.StringVar(&in, "in", "", "the file with the operators (required)")
	f.StringVar(&req.Fingerprint, "fingerprint", "", "their fingerprint; required for a Region that has no operators")
	f.StringArrayVar(&approvals, "approval", nil, "file of an approval; once for each")
	return cmd
}

// readApprovals reads files that `antipode operator approve` wrote.
func readApprovals(paths []string) (files [][]byte, err error) {
	for _, path := range paths {
		file, err := readUpTo(path, roster.MaxApprovalFile)
		if err != nil {
			return nil, err
		}
		if _, err := roster.DecodeApproval(file); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		files = append(files, file)
	}
	return files, nil
}

// parseOperator reads NAME=PUBLICKEY.
func parseOperator(text string) (k roster.OperatorKey, err error) {
	name, encoded, found := strings.Cut(text, "=")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if !found || err != nil || len(raw) != ed25519.PublicKeySize || name == "" {
		return k, fmt.Errorf("--operator %q is not NAME=PUBLICKEY as 'antipode operator keygen' prints it", text)
	}
	return roster.OperatorKey{PublicKey: [32]byte(raw), Name: name}, nil
}

// describeRequest is what an operator is shown of what he approves: all of it.
func describeRequest(req roster.Request) ([]string, error) {
	p, err := req.Parse()
	if err != nil {
		return nil, err
	}
	lines := []string{
		"scope " + p.Scope, "from " + p.From.String(), "to " + p.To.String(),
	}
	if p.Primary != "" {
		lines = append(lines, "new primary "+p.Primary)
	}
	if p.RosterVersion != 0 {
		lines = append(lines, fmt.Sprintf("roster version %d", p.RosterVersion))
	}
	if n := len(req.Operators); n > 0 {
		more, err := describeOperators(req.Operators[n-1])
		return append(lines, more...), err
	}
	return lines, nil
}

// describeOperators tells people of a set of operators.
func describeOperators(s roster.OperatorSet) ([]string, error) {
	fp, err := s.Fingerprint()
	if err != nil {
		return nil, err
	}
	lines := []string{fmt.Sprintf("operators version %d, %d of %d must approve", s.Version, s.Quorum, len(s.Keys))}
	for _, k := range s.Keys {
		lines = append(lines, fmt.Sprintf("operator %q %s id %x", k.Name, base64.StdEncoding.EncodeToString(k.PublicKey[:]),
			keyset.OperatorID(k.PublicKey[:])))
	}
	return append(lines, "fingerprint "+fp), nil
}
