package conformance_test

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

func TestEveryExportedNameIsDocumented(t *testing.T) {
	for folder, files := range publicFiles(t) {
		report(t, undocumented(display(folder), files))
	}
}

func TestUndocumentedFindsThem(t *testing.T) {
	const documented = "// Package p.\npackage p\n"
	tests := []struct {
		name, text string
		want       []string
	}{
		{name: "package", text: "package p\n", want: []string{"p has no package comment"}},
		{name: "function", text: documented + "func F() {}\n\n// G.\nfunc G() {}\nfunc h() {}", want: []string{"p.go:3: p.F"}},
		{name: "type", text: documented + "type T int\n\n// U.\ntype U int\ntype v struct { X int }", want: []string{"p.go:3: p.T"}},
		{name: "method", text: documented + "// T.\ntype T int\nfunc (T) M() {}\nfunc (*T) n() {}\nfunc (u) O() {}", want: []string{"p.go:5: p.T.M"}},
		{name: "method of a generic type", text: documented + "// T.\ntype T[K any] struct{}\nfunc (*T[K]) M() {}", want: []string{"p.go:5: p.T.M"}},
		{name: "field", text: documented + "// T.\ntype T struct {\n\tA int\n\n\t// B.\n\tB int\n\n\tC, D int // Both.\n\n\te int\n\tio.Reader\n\tF int\n}", want: []string{"p.go:5: p.T.A", "p.go:14: p.T.F"}},
		{name: "fields beside a comment", text: documented + "// T.\ntype T struct {\n\tA int\n\tB int // bytes\n\t// C.\n\tC int\n\n\tD int\n}", want: []string{"p.go:10: p.T.D"}},
		{name: "field that the type's comment names", text: documented + "// T has a code and more, not that.\ntype T struct {\n\tCode int\n\tM int\n}", want: []string{"p.go:6: p.T.M"}},
		{name: "field with a type of its name", text: documented + "// T.\ntype T struct {\n\tCode ErrorCode\n\n\tKind Kind\n\n\tID uid\n}", want: []string{"p.go:9: p.T.ID"}},
		{name: "field of an inner struct", text: documented + "// T.\ntype T struct {\n\t// A.\n\tA struct {\n\t\tB int\n\t}\n}", want: []string{"p.go:7: p.T.A.B"}},
		{name: "method of an interface", text: documented + "// T.\ntype T interface {\n\tA()\n\n\t// B.\n\tB()\n\tio.Reader\n}", want: []string{"p.go:5: p.T.A"}},
		{name: "only method of an interface", text: documented + "// T.\ntype T interface {\n\tio.Reader\n\tA()\n}"},
		{name: "constant", text: documented + "const A = 1\n\n// Both.\nconst (\n\tB = 1\n\tC = 2\n)\nconst (\n\tD = 1 // D.\n\tE = 2\n)", want: []string{"p.go:3: p.A", "p.go:12: p.E"}},
		{name: "variable", text: documented + "var ErrA, errB = f()", want: []string{"p.go:3: p.ErrA"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			problems := undocumented("p", []*ast.File{parse(t, "p.go", test.text)})
			require.Len(t, problems, len(test.want), "%q", problems)
			for i, want := range test.want {
				require.Contains(t, problems[i], want)
			}
		})
	}
}

// undocumented lists the exported names of a package that have no comment. A
// comment above a group of constants or variables is one for each of them, and
// one behind a field, constant or variable counts as well. What counts for the
// members of a type, the function members says.
func undocumented(folder string, files []*ast.File) []string {
	d := documentation{folder: folder}
	about := false
	for _, file := range files {
		about = about || file.Doc != nil
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				d.function(decl)
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					d.spec(decl, spec)
				}
			}
		}
	}
	if !about && len(files) > 0 {
		d.problems = append(d.problems, folder+" has no package comment")
	}
	return d.problems
}

type documentation struct {
	folder   string
	problems []string
}

func (d *documentation) need(name *ast.Ident, full string, docs ...*ast.CommentGroup) {
	if name.IsExported() && !slices.ContainsFunc(docs, speaks) {
		d.missing(name, full)
	}
}

func (d *documentation) missing(name *ast.Ident, full string) {
	d.problems = append(d.problems, fmt.Sprintf("%s: %s.%s has no comment", at(name), d.folder, full))
}

// speaks says whether there is a comment with text in it.
func speaks(doc *ast.CommentGroup) bool {
	return doc != nil && strings.TrimSpace(doc.Text()) != ""
}

func (d *documentation) function(f *ast.FuncDecl) {
	full := f.Name.Name
	if f.Recv != nil {
		receiver := receiverName(f.Recv.List[0].Type)
		if !ast.IsExported(receiver) {
			return
		}
		full = receiver + "." + full
	}
	d.need(f.Name, full, f.Doc)
}

func receiverName(e ast.Expr) string {
	switch v := e.(type) {
	case *ast.StarExpr:
		return receiverName(v.X)
	case *ast.IndexExpr:
		return receiverName(v.X)
	case *ast.IndexListExpr:
		return receiverName(v.X)
	case *ast.Ident:
		return v.Name
	}
	return ""
}

func (d *documentation) spec(group *ast.GenDecl, spec ast.Spec) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range s.Names {
			d.need(name, name.Name, group.Doc, s.Doc, s.Comment)
		}
	case *ast.TypeSpec:
		d.need(s.Name, s.Name.Name, s.Doc, group.Doc)
		if s.Name.IsExported() {
			about := s.Doc.Text()
			if s.Doc == nil {
				about = group.Doc.Text()
			}
			d.members(s.Name.Name, about, s.Type)
		}
	}
}

// members looks at the fields of a struct and the methods of an interface. A
// member is documented if it, or a line above or below it with no empty line in
// between, has a comment; if the comment of the type has its name as a word; if
// it is the only method of its interface, which is then what the type's comment
// is about; or if its type's name ends in its own, as in "Code ErrorCode".
// Otherwise the plain fields of a result would need comments that say nothing.
func (d *documentation) members(of, about string, e ast.Expr) {
	var list []*ast.Field
	only := false
	switch v := e.(type) {
	case *ast.StructType:
		list = v.Fields.List
	case *ast.InterfaceType:
		list = v.Methods.List
		only = v.Methods.NumFields()-embedded(list) == 1
	default:
		return
	}
	for _, run := range runs(list) {
		commented := slices.ContainsFunc(run, func(f *ast.Field) bool { return speaks(f.Doc) || speaks(f.Comment) })
		for _, field := range run {
			for _, name := range field.Names {
				if !name.IsExported() {
					continue
				}
				full := of + "." + name.Name
				if !commented && !only && !mentions(about, name.Name) && !typeNames(field.Type, name.Name) {
					d.missing(name, full)
				}
				d.members(full, field.Doc.Text(), field.Type)
			}
		}
	}
}

// runs cuts the members of a type where there are empty lines.
func runs(list []*ast.Field) (all [][]*ast.Field) {
	last := -1
	for _, field := range list {
		start := field.Pos()
		if field.Doc != nil {
			start = field.Doc.Pos()
		}
		if line := fileSet.Position(start).Line; last < 0 || line > last+1 {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], field)
		last = fileSet.Position(field.End()).Line
	}
	return all
}

// embedded counts the members without a name of their own.
func embedded(list []*ast.Field) int {
	n := 0
	for _, field := range list {
		if len(field.Names) == 0 {
			n++
		}
	}
	return n
}

// mentions says whether the comment has the name as a word, in any case.
func mentions(comment, name string) bool {
	words := strings.FieldsFunc(comment, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return slices.ContainsFunc(words, func(word string) bool { return strings.EqualFold(word, name) })
}

// typeNames says whether the type is a named one whose name ends in name.
func typeNames(e ast.Expr, name string) bool {
	switch v := e.(type) {
	case *ast.Ident:
		return strings.HasSuffix(v.Name, name)
	case *ast.SelectorExpr:
		return strings.HasSuffix(v.Sel.Name, name)
	}
	return false
}
