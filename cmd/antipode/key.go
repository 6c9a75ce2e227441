package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"antipode/regions"
)

// keyCommand asks a Region about a key, as any client would: signed, with the caller's rights.
func keyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Ask how the Regions of a multi-Region key stand"}
	cmd.AddCommand(replicasCommand(), driftCommand())
	return cmd
}

// restFlags say where a Region answers.
type restFlags struct {
	endpoint, region string
	asJSON           bool
}

func (f *restFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.endpoint, "endpoint", "", "URL of the Region's API, http://127.0.0.1:4566 (required)")
	cmd.Flags().StringVar(&f.region, "region", "", "the Region to ask (required)")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print the answer as it came")
}

func (f *restFlags) validate() error {
	if f.endpoint == "" || f.region == "" {
		return errors.New("--endpoint and --region are required")
	}
	return nil
}

func replicasCommand() *cobra.Command {
	var f restFlags
	cmd := &cobra.Command{
		Use: "replicas KEY", Short: "Show the replication of a multi-Region key: each Region's state, lag, last receipt and last error",
		Args: cobra.ExactArgs(1),
		Long: `Shows what the Region knows of the replication of a key, whose name is a key id, a key ARN, an alias name or an alias
ARN. The Region of the primary knows of all others; one that has a replica knows of itself alone, and says which to ask.
Credentials are those of the AWS environment; the permission is kms:DescribeKey.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.validate(); err != nil {
				return err
			}
			var answer regions.DescribeKeyReplicasOutput
			if err := restGet(cmd.Context(), f.endpoint, f.region, "/keys/"+url.PathEscape(args[0])+"/replicas", &answer); err != nil {
				return err
			}
			if f.asJSON {
				return json.MarshalWrite(cmd.OutOrStdout(), answer, jsontext.WithIndent("  "))
			}
			return printReplicas(cmd, f.region, answer)
		},
	}
	f.add(cmd)
	return cmd
}

func printReplicas(cmd *cobra.Command, asked string, a regions.DescribeKeyReplicasOutput) error {
	out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	line := func(columns ...string) {
		fmt.Fprintln(out, strings.Join(columns, "\t")) //nolint:errcheck // Flush reports it
	}
	line("REGION", "ROLE", "STATE", "EPOCH", "SEQUENCE", "LAG", "LAST RECEIPT", "LAST ERROR")
	for _, r := range a.Replicas {
		sequence, lag, receipt, fault := "-", "-", "-", "-"
		if r.Sequence != 0 {
			sequence = strconv.Itoa(r.Sequence)
		}
		if r.State != regions.ReplicaUnknown {
			lag = strconv.Itoa(r.LagSeconds) + "s"
		}
		if r.LastReceipt.Millis() != 0 {
			receipt = time.UnixMilli(r.LastReceipt.Millis()).UTC().Format(time.RFC3339)
		}
		if r.LastError != "" {
			fault = r.LastError
		}
		if len(r.MissingMaterials) > 0 {
			fault += fmt.Sprintf(" (lacks %d key materials)", len(r.MissingMaterials))
		}
		line(r.Region, r.Role, r.State, orDash(r.Epoch), sequence, lag, receipt, fault)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if a.PrimaryRegion != asked {
		return printLines(cmd, fmt.Sprintf("%s has a replica: the other Regions are known to %s, which has the primary", asked, a.PrimaryRegion))
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
