package conformance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/conformance"
)

const module = "github.com/pxekit/pxe"

// topFolders are all folders that the module's root may have, hidden ones
// aside; docs is the one without Go code.
var topFolders = []string{"asset", "bootcfg", "dhcp", "docs", "examples", "internal", "rootfs", "tftp"}

// parts are the packages that the root composes and that know nothing of each
// other, so that each can be used alone.
var parts = []string{"asset", "bootcfg", "dhcp", "rootfs", "tftp"}

// modules are the other modules that a folder may import, and the folders below
// it, outside its tests. What is not listed may import none.
var modules = map[string][]string{
	// The DHCP codec, whose types dhcp shows, and the contract of NBD exports.
	".":    {"github.com/insomniacslk/dhcp", "github.com/pojntfx/go-nbd"},
	"dhcp": {"github.com/insomniacslk/dhcp"},
	// The contract of NBD exports and the wire format, and sendfile with an
	// offset of its own.
	"rootfs": {"github.com/pojntfx/go-nbd", "golang.org/x/sys"},
	// Sockets with packet information, and system calls that os and net lack.
	// testify is for the packages that only tests import; a public package that
	// brought it along would bring testing along, and TestDependencies sees that.
	// go-nbd is the contract of the exports that bench serves, and bench's DHCP
	// clients speak by the codec.
	"internal": {"golang.org/x/net", "golang.org/x/sys", "github.com/stretchr/testify", "github.com/pojntfx/go-nbd", "github.com/insomniacslk/dhcp"},
	// Examples show what programs do; they keep to the module's own pins.
	"examples": {"github.com/insomniacslk/dhcp", "github.com/pin/tftp/v3", "golang.org/x/sys"},
}

// never are packages that a library must not bring into a program: they belong
// to the program itself (its flags, its signals), or change it by being linked
// in (testing and expvar register flags and handlers). Examples are programs,
// and internal packages may be there for tests alone: TestDependencies finds
// the ones that a public package needs.
var never = []string{"expvar", "flag", "net/http/pprof", "os/signal", "testing"}

func TestTopFolders(t *testing.T) {
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() && name[0] != '.' && !slices.Contains(topFolders, name) {
			t.Errorf("the folder %s is none of %s", name, strings.Join(topFolders, ", "))
		}
	}
	for folder := range goFiles(t) {
		if top(folder) == "docs" {
			t.Errorf("there is Go code in %s", folder)
		}
	}
}

// TestImports looks at what the files say, whatever system they are for.
func TestImports(t *testing.T) {
	for folder, names := range goFiles(t) {
		for _, name := range names {
			for _, imported := range importsOf(t, name) {
				if problem := judgeImport(folder, imported); problem != "" {
					t.Errorf("%s: %s", name, problem)
				}
			}
		}
	}
}

func TestJudgeImport(t *testing.T) {
	tests := []struct {
		folder, imported string
		allowed          bool
	}{
		{"dhcp", "net/netip", true},
		{"dhcp", module + "/internal/drop", true},
		{"dhcp", module + "/tftp", false},
		{"dhcp", module, false},
		{"dhcp", "github.com/insomniacslk/dhcp/dhcpv4", true},
		{"dhcp", "github.com/insomniacslk/dhcpserver", false},
		{"dhcp", "golang.org/x/sys/unix", false},
		{"dhcp/pxetest", module + "/dhcp", false},
		{"dhcp/pxetest", module, false},
		{"dhcp/pxetest", "github.com/insomniacslk/dhcp/dhcpv4", true},
		{"tftp", "github.com/pin/tftp/v3", false},
		{"tftp", module + "/internal/lifecycle", true},
		{"rootfs", "os/signal", false},
		{"rootfs", "net/http/httptest", true},
		{"bootcfg", "testing/fstest", false},
		{"asset", module + "/asset/internal/x", true},
		{".", module + "/tftp", true},
		{".", module + "/examples/quickstart", false},
		{".", "flag", false},
		{"examples/appliance", "flag", true},
		{"examples/appliance", module, true},
		{"internal/vm", "testing", true},
		{"internal/vm", module + "/tftp", true},
		{"internal/vm", "github.com/stretchr/testify/require", true},
		{"internal/vm", "github.com/pin/tftp/v3", false},
	}
	for _, test := range tests {
		require.Equal(t, test.allowed, judgeImport(test.folder, test.imported) == "", "%s imports %s", test.folder, test.imported)
	}
}

// judgeImport says why a file of a folder may not import a package, or nothing.
func judgeImport(folder, imported string) string {
	inModule, ours := within(imported)
	switch {
	case ours:
		if part := top(folder); slices.Contains(parts, part) && top(inModule) != "internal" {
			if top(inModule) != part {
				return fmt.Sprintf("%s must not import %s: the parts know nothing of each other or the root", part, imported)
			}
			if folder == "dhcp/pxetest" {
				return fmt.Sprintf("the fake machine must not import %s: it is no judge of code that it shares", imported)
			}
		}
		if top(inModule) == "examples" && top(folder) != "examples" {
			return fmt.Sprintf("%s is an example", imported)
		}
	case standard(imported):
		for _, name := range never {
			if public(folder) && (imported == name || strings.HasPrefix(imported, name+"/")) {
				return fmt.Sprintf("a library must not import %s", imported)
			}
		}
	default:
		for _, allowed := range modules[top(folder)] {
			if imported == allowed || strings.HasPrefix(imported, allowed+"/") {
				return ""
			}
		}
		return fmt.Sprintf("%s is of a module that %s may not import", imported, display(top(folder)))
	}
	return ""
}

// TestDependencies looks at what each public package brings along through the
// packages it imports, on the system that the test runs on.
func TestDependencies(t *testing.T) {
	for _, p := range listPackages(t) {
		folder, ours := within(p.ImportPath)
		if !ours || !public(folder) {
			continue
		}
		for _, dep := range p.Deps {
			if problem := judgeDependency(folder, dep); problem != "" {
				t.Error(problem)
			}
		}
	}
}

func TestJudgeDependency(t *testing.T) {
	tests := []struct {
		folder, dep string
		allowed     bool
	}{
		{"dhcp", module + "/internal/drop", true},
		{"dhcp", module + "/asset", false},
		{"dhcp", module, false},
		{"dhcp", "testing", false},
		{"dhcp/pxetest", module + "/dhcp", false},
		{".", module + "/dhcp", true},
		{".", "flag", false},
	}
	for _, test := range tests {
		require.Equal(t, test.allowed, judgeDependency(test.folder, test.dep) == "", "%s needs %s", test.folder, test.dep)
	}
}

// judgeDependency is judgeImport for packages that may come by way of others,
// where other modules' needs are their own.
func judgeDependency(folder, dep string) string {
	_, ours := within(dep)
	if !ours && !standard(dep) {
		return ""
	}
	if problem := judgeImport(folder, dep); problem != "" {
		return fmt.Sprintf("%s depends on %s, maybe by way of others: %s", path.Join(module, folder), dep, problem)
	}
	return ""
}

// goPackage is what the test needs of the output of "go list -json".
type goPackage struct {
	ImportPath string
	Deps       []string
}

// listPackages asks the go command once. With -e it lists packages that do not
// compile too.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	command := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Deps", "./...")
	command.Dir = root
	command.Stderr = os.Stderr
	out, err := command.Output()
	require.NoError(t, err)
	var all []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// goFiles returns the Go files of the module that are not tests, by folder.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	folders := make(map[string][]string)
	require.NoError(t, conformance.WalkGo(os.DirFS(root), func(name string) error {
		if !strings.HasSuffix(name, "_test.go") {
			folders[path.Dir(name)] = append(folders[path.Dir(name)], name)
		}
		return nil
	}))
	return folders
}

func importsOf(t *testing.T, name string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path.Join(root, name), nil, parser.ImportsOnly)
	require.NoError(t, err)
	var imports []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		imports = append(imports, imported)
	}
	return imports
}

// within returns the folder of an import path of this module.
func within(importPath string) (folder string, ours bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// top returns the first element of a folder's path.
func top(folder string) string {
	first, _, _ := strings.Cut(folder, "/")
	return first
}

// display returns the folder as it stands in messages and names of tests.
func display(folder string) string {
	if folder == "." {
		return rootName
	}
	return folder
}

// public says whether embedders can import the package of the folder.
func public(folder string) bool {
	return top(folder) != "examples" && !slices.Contains(strings.Split(folder, "/"), "internal")
}

// standard says whether the import path is of the standard library, whose paths
// have no dot in the first element.
func standard(importPath string) bool {
	return !strings.Contains(top(importPath), ".")
}
