package bootcfg

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// The forms of SystemRescue's values.
var (
	formDir    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)
	formSize   = regexp.MustCompile(`^([1-9][0-9]?%|100%|[1-9][0-9]{0,11}[kKmMgG]?)$`)
	formWord   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	formPath   = regexp.MustCompile(`^/[A-Za-z0-9._~/+-]*$`)
	formSafe   = regexp.MustCompile(`^[` + bootvalue.Safe + `]+$`)
	formHash   = regexp.MustCompile(`^\$[A-Za-z0-9-]+\$[A-Za-z0-9./$=,_-]+$`)
	formTTY    = regexp.MustCompile(`^[a-z][A-Za-z0-9]*(,[0-9]+[noe]?[78]?r?)?$`)
	formSource = regexp.MustCompile(`^(https?://|nfs://|//|/dev/)[` + bootvalue.Safe + `]+$`)
	formSuffix = regexp.MustCompile(`^[0-9A-F]$`)
	formConfig = regexp.MustCompile(`^(https?://[` + bootvalue.Safe + `]+|/?[A-Za-z0-9][A-Za-z0-9._/-]*)$`)
)

// paramWriter collects parameters and what is wrong with them.
type paramWriter struct {
	problems
	params []string
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
		w.problems.add("SystemRescue: "+name, said, problem, remedy)
		return
	}
	w.params = append(w.params, name+"="+value)
}

// Params returns the kernel parameters that boot SystemRescue with the root file
// system at root. BOOTIF and initrd are not among them: the renderers add them.
//
// The scheme of root decides how the initramfs gets its root file system:
//
//	http, https  files below a URL that ends in "/"
//	tftp         the same, by curl's TFTP: slow, for small networks
//	nfs          nfs://IPv4-address/path, an export that holds the medium's tree
//	nbd          nbd://host/export, a raw ISO image; port 10809; export "archiso" if
//	             there is nothing behind the slash
//
// Export paths and names go to clients that decode no percent signs, so they
// consist of letters, digits and "-._~:/@+=,". The path of an export has no slash
// at its end.
//
// Errors are joined [*ValueError]s.
func (s SystemRescue) Params(root *url.URL) ([]string, error) {
	w := &paramWriter{}
	w.value("archisobasedir", s.baseDir(), formDir, "is no directory on the medium",
		"give its path, as sysresccd, without slashes at its ends")
	if a := s.arch(); a != "x86_64" && a != "i686" {
		w.problems.add("SystemRescue: Arch", a, "is not what SystemRescue is made for", "use x86_64 or i686")
	}
	// Without ip= there is no network at all in the initramfs.
	w.params = append(w.params, "ip=dhcp")
	s.root(w, root)
	w.flag(s.Checksum, "checksum")
	s.storage(w)
	if !hasParam(s.Extra, "iomem") {
		// As the medium's own menu has it: tools that flash firmware need it.
		w.params = append(w.params, "iomem=relaxed")
	}
	s.system(w)
	s.Autorun.params(w)
	s.extra(w)
	if n := len(strings.Join(w.params, " ")); n > MaxCommandLine {
		w.problems.add("SystemRescue", "", fmt.Sprintf("the parameters have %d bytes", n),
			fmt.Sprintf("the kernel keeps %d: use fewer or shorter ones", MaxCommandLine))
	}
	if err := w.err(); err != nil {
		return nil, err
	}
	return w.params, nil
}

// storage adds what becomes of the root file system.
func (s *SystemRescue) storage(w *paramWriter) {
	const problem, remedy = "is no size", "use a percentage of the memory, as 60%, or a number with K, M or G"
	switch s.CopyToRAM {
	case CopyAuto:
	case CopyAlways:
		w.params = append(w.params, "copytoram")
	case CopyNever:
		w.params = append(w.params, "copytoram=n")
	default:
		w.problems.add("SystemRescue: CopyToRAM", fmt.Sprint(s.CopyToRAM), "is no mode", "use CopyAuto, CopyAlways or CopyNever")
	}
	w.value("copytoram_size", s.CopyToRAMSize, formSize, problem, remedy)
	w.value("cow_spacesize", s.COWSpaceSize, formSize, problem, remedy)
	w.value("cow_label", s.COWLabel, formWord, "is no label", "use letters, digits and '-._'")
	w.value("cow_directory", s.COWDirectory, formPath, "is no path", "give an absolute path of letters, digits and '-._~+/'")
	if s.LoadSRM {
		w.params = append(w.params, "loadsrm=y")
	}
}

// system adds how the booted system behaves.
func (s *SystemRescue) system(w *paramWriter) {
	const secret = "use letters, digits and '-._~:/@%+=,'"
	w.value("setkmap", s.Keymap, formWord, "is no keymap", "name one, as de or fr-latin9")
	w.value("rootpass", s.RootPassword, formSafe, "has characters in it that would not get through", secret)
	w.value("rootcryptpass", s.RootCryptPass, formHash, "is no hash of a password",
		"give what crypt makes of it, as openssl passwd -6 prints")
	if s.RootPassword != "" && s.RootCryptPass != "" {
		w.problems.add("SystemRescue: RootPassword", "", "is set, and RootCryptPass too", "keep the hash")
	}
	w.value("rootshell", s.RootShell, formPath, "is no path", "give an absolute path, as /bin/zsh")
	w.flag(s.NoFirewall, "nofirewall")
	w.flag(s.NoAutologin, "noautologin")
	w.flag(s.StartX, "dostartx")
	w.flag(s.StartVNC, "dovnc")
	if len(s.VNCPassword) > 0 && len(s.VNCPassword) < 6 {
		w.problems.add("SystemRescue: vncpass", "", "is too short", "use six characters or more")
	}
	w.value("vncpass", s.VNCPassword, formSafe, "has characters in it that would not get through", secret)
	w.flag(s.NoModeset, "nomodeset")
	w.flag(s.NoMDLVM, "nomdlvm")
	seen := map[string]bool{}
	for _, c := range s.Consoles {
		if c == "" || seen[c] {
			w.problems.add("SystemRescue: console", c, "is empty or given twice", "name each console once")
		}
		seen[c] = true
		w.value("console", c, formTTY, "is no console", "use tty0, or a serial port with its speed as ttyS0,115200n8")
	}
	for _, c := range s.Config {
		if c == "" {
			w.problems.add("SystemRescue: sysrescuecfg", "", "is empty", "remove it")
		}
		w.value("sysrescuecfg", c, formConfig, "is no source of configuration",
			"give an http:// or https:// URL, an absolute path in the initramfs, or a name in sysrescue.d")
	}
}

// params adds what to run.
func (a *Autorun) params(w *paramWriter) {
	w.value("ar_source", a.Source, formSource, "is no source of scripts",
		"give an http://, https:// or nfs:// URL, //host/share or /dev/...")
	for _, s := range a.Suffixes {
		if !formSuffix.MatchString(s) {
			w.problems.add("SystemRescue: ar_suffixes", s, "is no suffix", "use 0 to 9 and A to F")
			return
		}
	}
	if len(a.Suffixes) > 0 {
		w.params = append(w.params, "ar_suffixes="+strings.Join(a.Suffixes, ","))
	}
	w.flag(a.Disable, "ar_disable")
	w.flag(a.NoWait, "ar_nowait")
	w.flag(a.IgnoreFail, "ar_ignorefail")
	w.flag(a.NoDelete, "ar_nodel")
	if a.Attempts < 0 || a.Attempts > 100 {
		w.problems.add("SystemRescue: ar_attempts", fmt.Sprint(a.Attempts), "is out of range", "use 1 to 100, or 0 for the default")
	} else if a.Attempts > 0 {
		w.params = append(w.params, fmt.Sprintf("ar_attempts=%d", a.Attempts))
	}
}

// gone are parameters of SystemRescue up to 4.x, and what does their work today.
var gone = map[string]string{
	"docache":  "set CopyToRAM",
	"root":     "remove it: the root file system is the root argument",
	"netboot":  "remove it: the root file system is the root argument",
	"dodhcp":   "remove it: ip=dhcp is always there",
	"subdir":   "set BaseDir",
	"autoruns": "set Autorun.Suffixes",
}

// ours are parameters that are made from something else than Extra.
var ours = map[string]string{
	"arch":             "set Arch",
	"ip":               "remove it: it is always ip=dhcp, and more would hide the DNS servers",
	"archisobasedir":   "set BaseDir",
	"archiso_http_srv": "give it as the root URL",
	"archiso_nfs_srv":  "give it as the root URL",
	"archiso_nbd_srv":  "give it as the root URL",
	"archiso_nbd_name": "give it as the root URL",
	"archiso_nfs_opt":  "set NFSOptions",
	"verify":           "remove it: official media have no signature; set Checksum",
	"copytoram":        "set CopyToRAM",
	"checksum":         "set Checksum",
	"setkmap":          "set Keymap",
	"rootpass":         "set RootPassword",
	"rootcryptpass":    "set RootCryptPass",
}

// extra adds the caller's own parameters. The last of several with one name
// wins, which is not what anybody means.
func (s *SystemRescue) extra(w *paramWriter) {
	if len(s.Extra) > MaxParams {
		w.problems.add("SystemRescue: Extra", "", fmt.Sprintf("has %d parameters", len(s.Extra)), fmt.Sprintf("keep to %d", MaxParams))
		return
	}
	for _, param := range s.Extra {
		const where = "SystemRescue: Extra"
		key, _, _ := strings.Cut(param, "=")
		f := checkParam(param)
		if key == "BOOTIF" {
			f = flaw{"is added for each machine", "remove it, or set AnyInterface on the entry"}
		}
		if f == (flaw{}) && !formSafe.MatchString(param) {
			f = flaw{"has characters in it that a shell may see", "use letters, digits and '-._~:/@%+=,'"}
		}
		if f != (flaw{}) {
			w.check(where, shown(param), f)
			continue
		}
		if remedy := gone[key]; remedy != "" {
			w.problems.add(where, shown(param), "has had no effect since SystemRescue 5", remedy)
			continue
		}
		if remedy := ours[key]; remedy != "" {
			w.problems.add(where, shown(param), "is made elsewhere", remedy)
			continue
		}
		switch key {
		case "archisodevice", "archisolabel", "img_dev", "img_label", "img_loop":
			// The initramfs would look on a disk, or in an image on one.
			w.problems.add(where, shown(param), "names a local medium", "remove it: the root file system is the root argument")
			continue
		}
		repeats := slices.Contains([]string{"console", "sysrescuecfg", "earlycon"}, key)
		if !repeats && hasParam(w.params, key) {
			w.problems.add(where, shown(param), "is there already, and the last one would win", "keep one")
			continue
		}
		w.params = append(w.params, param)
	}
}
