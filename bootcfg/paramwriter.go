package bootcfg

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// The forms of values that several systems have.
var (
	formDir  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)
	formSize = regexp.MustCompile(`^([1-9][0-9]?%|100%|[1-9][0-9]{0,11}[kKmMgG]?)$`)
	formWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	formPath = regexp.MustCompile(`^/[A-Za-z0-9._~/+-]*$`)
	formSafe = regexp.MustCompile(`^[` + bootvalue.Safe + `]+$`)
	formTTY  = regexp.MustCompile(`^[a-z][A-Za-z0-9]*(,[0-9]+[noe]?[78]?r?)?$`)
)

// What is wrong with a size, and with a directory on a medium.
const (
	noSize       = "is no size"
	sizeRemedy   = "use a percentage of the memory, as 60%, or a number with K, M or G"
	noDir        = "is no directory on the medium"
	noFile       = "is no file on the medium"
	noFileRemedy = "give its path of letters, digits and '-._/', without a slash at its ends"
)

// paramWriter collects the parameters of one system, and what is wrong with
// them.
type paramWriter struct {
	problems
	system string // "SystemRescue", for error texts
	params []string
}

// problem records what is wrong with a field or parameter of the system.
func (w *paramWriter) problem(where, value, problem, remedy string) {
	w.problems.add(w.system+": "+where, value, problem, remedy)
}

// flag appends a bare parameter if it is on.
func (w *paramWriter) flag(on bool, name string) {
	if on {
		w.params = append(w.params, name)
	}
}

// value appends "name=value", unless value is empty.
func (w *paramWriter) value(name, value string, form *regexp.Regexp, problem, remedy string) {
	if value == "" {
		return
	}
	if len(value) > 512 || !form.MatchString(value) {
		said := value
		if strings.Contains(secretParams, " "+name+" ") {
			said = ""
		}
		w.problem(name, said, problem, remedy)
		return
	}
	w.params = append(w.params, name+"="+value)
}

// consoles appends where the kernel's messages go.
func (w *paramWriter) consoles(names []string) {
	seen := map[string]bool{}
	for _, c := range names {
		if c == "" || seen[c] {
			w.problem("console", c, "is empty or given twice", "name each console once")
		}
		seen[c] = true
		w.value("console", c, formTTY, "is no console", "use tty0, or a serial port with its speed as ttyS0,115200n8")
	}
}

// repeatable tells whether several parameters of one name are all heeded.
func repeatable(key string) bool {
	return key == "console" || key == "sysrescuecfg" || key == "earlycon"
}

// extra appends the caller's own parameters. The last of several with one name
// wins, which is not what anybody means. refuse returns what is wrong with a
// name on this system.
func (w *paramWriter) extra(params []string, refuse func(key string) flaw) {
	const where = "Extra"
	if len(params) > MaxParams {
		w.problem(where, "", fmt.Sprintf("has %d parameters", len(params)), fmt.Sprintf("keep to %d", MaxParams))
		return
	}
	for _, param := range params {
		key, _, _ := strings.Cut(param, "=")
		f := checkParam(param)
		if key == "BOOTIF" {
			f = flaw{"is added for each machine", "remove it, or set AnyInterface on the entry"}
		}
		if f == (flaw{}) && !formSafe.MatchString(param) {
			f = flaw{"has characters in it that a shell may see", "use letters, digits and '-._~:/@%+=,'"}
		}
		if f == (flaw{}) {
			f = refuse(key)
		}
		if f == (flaw{}) && !repeatable(key) && hasParam(w.params, key) {
			f = flaw{"is there already, and the last one would win", "keep one"}
		}
		if f != (flaw{}) {
			w.check(w.system+": "+where, shown(param), f)
			continue
		}
		w.params = append(w.params, param)
	}
}

// elsewhere is the flaw of an extra parameter that is made from something else.
func elsewhere(remedy string) flaw { return flaw{"is made elsewhere", remedy} }

// copyMode reports a mode that is none.
func (w *paramWriter) copyMode(mode CopyMode) {
	if mode > CopyNever {
		w.problem("CopyToRAM", fmt.Sprint(mode), "is no mode", "use CopyAuto, CopyAlways or CopyNever")
	}
}

// done returns the parameters, or everything that is wrong with them.
func (w *paramWriter) done() ([]string, error) {
	if n := len(strings.Join(w.params, " ")); n > MaxCommandLine {
		w.problems.add(w.system, "", fmt.Sprintf("the parameters have %d bytes", n),
			fmt.Sprintf("the kernel keeps %d: use fewer or shorter ones", MaxCommandLine))
	}
	if err := w.err(); err != nil {
		return nil, err
	}
	return w.params, nil
}
