package conformance_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// variables are the package-level variables of public packages that are allowed
// though their form would let them change, with the reason. They must be
// unexported, and no code may assign to them by name. What is allowed without
// being listed, mayBeVariable says.
var variables = map[string]string{
	"bootcfg.gone":             "a table of texts, only looked up",
	"dhcp/pxetest.broadcastHW": "the Ethernet broadcast address, an array by its type",
}

func TestNoPackageState(t *testing.T) {
	seen := make(map[string]bool)
	for folder, files := range publicFiles(t) {
		problems, allowed := packageState(display(folder), files, variables)
		report(t, problems)
		for _, name := range allowed {
			seen[name] = true
		}
	}
	for name := range variables {
		if !seen[name] {
			t.Errorf("the list of allowed variables has %s, which does not exist", name)
		}
	}
}

func TestPackageStateFindsIt(t *testing.T) {
	const imports = "package p\nimport (\"errors\"; \"fmt\"; \"regexp\"; \"net/netip\"; \"strings\")\n"
	tests := []struct {
		name, text string
		want       []string
	}{
		{name: "sentinels", text: "var ErrA = errors.New(\"a\")\nvar (\n errB error = fmt.Errorf(\"b: %w\", ErrA)\n ErrC = other.ErrC\n)"},
		{name: "assertion", text: "var _ I = (*T)(nil)"},
		{name: "array", text: "var names = [...]string{\"a\", 3: \"b\"}"},
		{name: "immutable values", text: "var form = regexp.MustCompile(`a`)\nvar escape = strings.NewReplacer()\nvar any4 = netip.MustParseAddr(\"192.0.2.1\")"},
		{name: "constants and types", text: "const a = 1\ntype T struct{}"},
		{name: "map", text: "var table = map[string]int{}", want: []string{"p.go:3: p.table is a package-level variable"}},
		{name: "slice", text: "var table = []string{}", want: []string{"p.go:3: p.table is a package-level variable"}},
		{name: "array of pointers to change", text: "var table = [2]*T{}", want: []string{"p.go:3: p.table is a package-level variable"}},
		{name: "exported array", text: "var Table = [2]string{}", want: []string{"p.go:3: p.Table is a package-level variable"}},
		{name: "no value", text: "var count int", want: []string{"p.go:3: p.count is a package-level variable"}},
		{name: "lock", text: "var mu sync.Mutex", want: []string{"p.go:3: p.mu is a package-level variable"}},
		{name: "allowed", text: "var known = []string{}"},
		{name: "allowed and changed", text: "var known = []string{}\nfunc f() { known[0] = \"a\" }", want: []string{"p.go:4: p.known is changed"}},
		{name: "sentinel changed", text: "var errA = errors.New(\"a\")\nfunc f() { errA = nil }", want: []string{"p.go:4: p.errA is changed"}},
		{name: "array counted up", text: "var n = [1]int{}\nfunc f() { n[0]++ }", want: []string{"p.go:4: p.n is changed"}},
		{name: "array's address", text: "var n = [1]int{}\nfunc f() { g(&n) }", want: []string{"p.go:4: p.n is changed"}},
		{name: "array ranged into", text: "var n = [1]int{}\nfunc f() { for n[0] = range 3 {} }", want: []string{"p.go:4: p.n is changed"}},
		{name: "array read", text: "var n = [1]int{}\nfunc f() int { m := n; m[0] = 1; return n[0] + m[0] }"},
		{name: "field of that name", text: "var n = [1]int{}\nfunc f(s *T) { s.n = 1; s.n++ }"},
		{name: "init", text: "func init() {}", want: []string{"p.go:3: p has a function init"}},
		{name: "method init", text: "func (T) init() {}"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := []*ast.File{parse(t, "p.go", imports+test.text)}
			problems, _ := packageState("p", files, map[string]string{"p.known": "a test"})
			require.Len(t, problems, len(test.want), "%q", problems)
			for i, want := range test.want {
				require.Contains(t, problems[i], want)
			}
		})
	}
}

// fileSet has the positions of everything that the tests of this file parse.
var fileSet = token.NewFileSet()

func parse(t *testing.T, name string, text any) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(fileSet, name, text, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	return file
}

// publicFiles returns the parsed files of the public packages, without tests,
// by folder. Files for other systems are among them.
func publicFiles(t *testing.T) map[string][]*ast.File {
	t.Helper()
	folders := make(map[string][]*ast.File)
	all := goFiles(t)
	for _, folder := range slices.Sorted(maps.Keys(all)) {
		if !public(folder) {
			continue
		}
		for _, name := range all[folder] {
			text, err := os.ReadFile(path.Join(root, name))
			require.NoError(t, err)
			folders[folder] = append(folders[folder], parse(t, name, text))
		}
	}
	return folders
}

// packageState finds what makes two users of a package know of each other:
// variables and init functions. It returns the variables that the list allows
// as well.
func packageState(folder string, files []*ast.File, list map[string]string) (problems, allowed []string) {
	kept := make(map[string]string) // name -> full name
	for _, file := range files {
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					problems = append(problems, fmt.Sprintf("%s: %s has a function init", at(d), folder))
				}
			case *ast.GenDecl:
				if d.Tok != token.VAR {
					continue
				}
				for _, spec := range d.Specs {
					spec := spec.(*ast.ValueSpec)
					for i, name := range spec.Names {
						full := folder + "." + name.Name
						var value ast.Expr
						if i < len(spec.Values) {
							value = spec.Values[i]
						}
						_, listed := list[full]
						switch {
						case name.Name == "_":
							continue
						case listed && !name.IsExported():
							allowed = append(allowed, full)
						case !mayBeVariable(name.Name, value):
							problems = append(problems, fmt.Sprintf(
								"%s: %s is a package-level variable that could change: make it a constant, a field, or a function that returns it", at(name), full))
							continue
						}
						kept[name.Name] = full
					}
				}
			}
		}
	}
	return append(problems, changes(files, kept)...), allowed
}

// immutable are functions whose results nobody can change.
var immutable = []string{
	"errors.New", "fmt.Errorf", "regexp.MustCompile", "strings.NewReplacer",
	"netip.MustParseAddr", "netip.MustParseAddrPort", "netip.MustParsePrefix",
	"netip.AddrFrom4", "netip.IPv4Unspecified", "netip.PrefixFrom",
}

// mayBeVariable says whether a variable is one in form only: a sentinel error,
// or an unexported value that is immutable or an array of plain values.
func mayBeVariable(name string, value ast.Expr) bool {
	sentinel := strings.HasPrefix(name, "Err")
	switch v := value.(type) {
	case *ast.CallExpr:
		function := selector(v.Fun)
		if sentinel {
			return function == "errors.New" || function == "fmt.Errorf"
		}
		return !ast.IsExported(name) && slices.Contains(immutable, function)
	case *ast.SelectorExpr: // another package's sentinel under this one's name
		return sentinel && strings.HasPrefix(v.Sel.Name, "Err")
	case *ast.CompositeLit:
		array, ok := v.Type.(*ast.ArrayType)
		if !ok || array.Len == nil || ast.IsExported(name) {
			return false
		}
		_, plain := array.Elt.(*ast.Ident)
		return plain
	}
	return false
}

// changes finds assignments to the variables, and places that take their
// address, where they could be assigned to. It goes by the name, so a local
// variable must not have the name of one of them.
func changes(files []*ast.File, kept map[string]string) (problems []string) {
	changed := func(e ast.Expr) {
		id := base(e)
		if id == nil {
			return
		}
		if full, ok := kept[id.Name]; ok {
			problems = append(problems, fmt.Sprintf(
				"%s: %s is changed, or could be through its address (if this is another variable, give it another name)", at(id), full))
		}
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						changed(e)
					}
				}
			case *ast.IncDecStmt:
				changed(n.X)
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					changed(n.Key)
				}
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					changed(n.X)
				}
			}
			return true
		})
	}
	return problems
}

// base returns the variable that an expression is a part of.
func base(e ast.Expr) *ast.Ident {
	for {
		switch v := e.(type) {
		case *ast.Ident:
			return v
		case *ast.IndexExpr:
			e = v.X
		case *ast.SelectorExpr:
			e = v.X
		case *ast.ParenExpr:
			e = v.X
		default:
			return nil
		}
	}
}

// selector returns "x.y" for such an expression.
func selector(e ast.Expr) string {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return x.Name + "." + s.Sel.Name
}

func at(n ast.Node) string {
	p := fileSet.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}
