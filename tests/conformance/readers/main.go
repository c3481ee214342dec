// Reads files with godotenv, with HashiCorp's HCL as Terraform reads *.tfvars, and with the YAML decoder of kubectl.
//
// One request per line on stdin: KIND, a blank, the file in base64. One answer per line on stdout: "!" where the reader refuses
// the file, else NAME:BASE64 pairs with blanks between. Built in GOPATH mode against Debian's source packages (.ci/conformance).
package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/ghodss/yaml"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/joho/godotenv"
	"github.com/zclconf/go-cty/cty"
)

type secret struct {
	Kind string            `json:"kind"`
	Data map[string][]byte `json:"data"`
}

func read(kind string, content []byte) (map[string]string, error) {
	values := map[string]string{}
	switch kind {
	case "dotenv":
		return godotenv.UnmarshalBytes(content)
	case "yaml":
		return values, yaml.Unmarshal(content, &values)
	case "secret":
		var found secret
		if err := yaml.Unmarshal(content, &found); err != nil {
			return nil, err
		}
		for name, value := range found.Data {
			values[name] = string(value)
		}
		return values, nil
	case "tfvars", "tfvars.json":
		var file *hcl.File
		var trouble hcl.Diagnostics
		if kind == "tfvars" {
			file, trouble = hclparse.NewParser().ParseHCL(content, "x.tfvars")
		} else {
			file, trouble = hclparse.NewParser().ParseJSON(content, "x.tfvars.json")
		}
		if trouble.HasErrors() {
			return nil, trouble
		}
		attributes, trouble := file.Body.JustAttributes()
		if trouble.HasErrors() {
			return nil, trouble
		}
		for name, attribute := range attributes {
			value, trouble := attribute.Expr.Value(nil)
			if trouble.HasErrors() {
				return nil, trouble
			}
			if value.Type() != cty.String {
				return nil, fmt.Errorf("not a string")
			}
			values[name] = value.AsString()
		}
		return values, nil
	}
	return nil, fmt.Errorf("unknown kind")
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		kind, encoded, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		content, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			panic(err)
		}
		values, err := read(kind, content)
		if err != nil {
			fmt.Fprintln(out, "!")
			continue
		}
		pairs := make([]string, 0, len(values))
		for name, value := range values {
			pairs = append(pairs, name+":"+base64.StdEncoding.EncodeToString([]byte(value)))
		}
		fmt.Fprintln(out, strings.Join(pairs, " "))
	}
}
