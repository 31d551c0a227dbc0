package bootcfg

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// The forms of SystemRescue's own values.
var (
	formHash   = regexp.MustCompile(`^\$[A-Za-z0-9-]+\$[A-Za-z0-9./$=,_-]+$`)
	formSource = regexp.MustCompile(`^(https?://|nfs://|//|/dev/)[` + bootvalue.Safe + `]+$`)
	formSuffix = regexp.MustCompile(`^[0-9A-F]$`)
	formConfig = regexp.MustCompile(`^(https?://[` + bootvalue.Safe + `]+|/?[A-Za-z0-9][A-Za-z0-9._/-]*)$`)
)

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
	w := &paramWriter{system: "SystemRescue"}
	if a := s.arch(); a != "x86_64" && a != "i686" {
		w.problem("Arch", a, "is not what SystemRescue is made for", "use x86_64 or i686")
	}
	stage := s.stage()
	stage.params(w, root)
	if s.LoadSRM {
		w.params = append(w.params, "loadsrm=y")
	}
	if !hasParam(s.Extra, "iomem") {
		// As the medium's own menu has it: tools that flash firmware need it.
		w.params = append(w.params, "iomem=relaxed")
	}
	s.system(w)
	s.Autorun.params(w)
	w.extra(s.Extra, s.refuse)
	return w.done()
}

// stage describes what archiso's hooks do.
func (s *SystemRescue) stage() *archisoStage {
	return &archisoStage{baseDir: s.baseDir(), tftp: true, checksum: s.Checksum,
		copyToRAM: s.CopyToRAM, copyToRAMSize: s.CopyToRAMSize, cowSpaceSize: s.COWSpaceSize,
		cowLabel: s.COWLabel, cowDir: s.COWDirectory, nfsOptions: s.NFSOptions}
}

// system adds how the booted system behaves.
func (s *SystemRescue) system(w *paramWriter) {
	const secret = "use letters, digits and '-._~:/@%+=,'"
	w.value("setkmap", s.Keymap, formWord, "is no keymap", "name one, as de or fr-latin9")
	w.value("rootpass", s.RootPassword, formSafe, "has characters in it that would not get through", secret)
	w.value("rootcryptpass", s.RootCryptPass, formHash, "is no hash of a password",
		"give what crypt makes of it, as openssl passwd -6 prints")
	if s.RootPassword != "" && s.RootCryptPass != "" {
		w.problem("RootPassword", "", "is set, and RootCryptPass too", "keep the hash")
	}
	w.value("rootshell", s.RootShell, formPath, "is no path", "give an absolute path, as /bin/zsh")
	w.flag(s.NoFirewall, "nofirewall")
	w.flag(s.NoAutologin, "noautologin")
	w.flag(s.StartX, "dostartx")
	w.flag(s.StartVNC, "dovnc")
	if len(s.VNCPassword) > 0 && len(s.VNCPassword) < 6 {
		w.problem("vncpass", "", "is too short", "use six characters or more")
	}
	w.value("vncpass", s.VNCPassword, formSafe, "has characters in it that would not get through", secret)
	w.flag(s.NoModeset, "nomodeset")
	w.flag(s.NoMDLVM, "nomdlvm")
	w.consoles(s.Consoles)
	for _, c := range s.Config {
		if c == "" {
			w.problem("sysrescuecfg", "", "is empty", "remove it")
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
			w.problem("ar_suffixes", s, "is no suffix", "use 0 to 9 and A to F")
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
		w.problem("ar_attempts", fmt.Sprint(a.Attempts), "is out of range", "use 1 to 100, or 0 for the default")
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

// refuse returns what is wrong with an extra parameter.
func (s *SystemRescue) refuse(key string) flaw {
	if remedy := gone[key]; remedy != "" {
		return flaw{"has had no effect since SystemRescue 5", remedy}
	}
	switch key {
	case "arch":
		return elsewhere("set Arch")
	case "verify":
		return elsewhere("remove it: official media have no signature; set Checksum")
	case "setkmap":
		return elsewhere("set Keymap")
	case "rootpass":
		return elsewhere("set RootPassword")
	case "rootcryptpass":
		return elsewhere("set RootCryptPass")
	}
	return s.stage().refuse(key)
}
