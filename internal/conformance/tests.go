package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FindTests returns the names of all test and fuzz functions of the module at
// the root of fsys, as folder.Function; rootName stands for the root's folder.
// Nothing is compiled, so that packages in the making do no harm: a file with a
// syntax error contributes the functions before the error.
func FindTests(fsys fs.FS, rootName string) (map[string]bool, error) {
	found := make(map[string]bool)
	err := WalkGo(fsys, func(name string) error {
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		file, _ := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if file == nil {
			return nil
		}
		folder := path.Dir(name)
		if folder == "." {
			folder = rootName
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && isTest(f) {
				found[folder+"."+f.Name.Name] = true
			}
		}
		return nil
	})
	return found, err
}

// isTest says whether "go test" would run the function as a test or fuzz target.
func isTest(f *ast.FuncDecl) bool {
	if f.Recv != nil || f.Type.Params.NumFields() != 1 || f.Name.Name == "TestMain" {
		return false
	}
	for _, prefix := range []string{"Test", "Fuzz"} {
		if rest, ok := strings.CutPrefix(f.Name.Name, prefix); ok {
			first, _ := utf8.DecodeRuneInString(rest)
			return rest == "" || !unicode.IsLower(first)
		}
	}
	return false
}

// WalkGo calls visit for each Go file of the module at the root of fsys, in
// lexical order. It does not enter what the go command does not: folders whose
// name begins with a dot or an underscore, testdata, and other modules.
func WalkGo(fsys fs.FS, visit func(name string) error) error {
	return fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.IsDir() {
			if path.Ext(name) == ".go" {
				return visit(name)
			}
			return nil
		}
		base := path.Base(name)
		if name == "." {
			return nil
		}
		if base == "testdata" || base[0] == '.' || base[0] == '_' {
			return fs.SkipDir
		}
		if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil {
			return fs.SkipDir
		}
		return nil
	})
}
