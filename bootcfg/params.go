package bootcfg

import (
	"fmt"
	"net"
	"regexp"
	"strings"
)

// bootifAddress is the form in which the initramfs compares hardware addresses:
// lower case, the hardware type 01 in front of the form with dashes.
var bootifAddress = regexp.MustCompile(`^(01(-[0-9a-f]{2}){6}|[0-9a-f]{2}(:[0-9a-f]{2}){5})$`)

// BOOTIF returns the kernel parameter that names the network interface to use,
// as "BOOTIF=01-02-00-00-00-00-01". The renderers add it by themselves for the
// interface that the machine boots from; use this in Params of an [Entry] to name
// another. The address must be that of one Ethernet interface that the machine
// really has: SystemRescue's initramfs stops the boot if there is none.
func BOOTIF(hw net.HardwareAddr) (string, error) {
	value := hw.String()
	if len(hw) != 6 || hw[0]&1 != 0 || value == "00:00:00:00:00:00" {
		return "", &ValueError{Where: "BOOTIF", Value: value, Problem: "is not the address of an Ethernet interface",
			Remedy: "give six bytes, neither zero nor a group address"}
	}
	return "BOOTIF=01-" + strings.ReplaceAll(value, ":", "-"), nil
}

// bootifLength is the length of a BOOTIF parameter and the blank before it.
const bootifLength = len(" BOOTIF=01-00-00-00-00-00-00")

// checkParam accepts one kernel parameter. Quotes are refused: the kernel lets
// them span blanks, and one too many swallows the rest of the command line.
func checkParam(s string) flaw {
	key, value, _ := strings.Cut(s, "=")
	switch {
	case key == "" || s == "-":
		return flaw{"has no name", "give a name, or name=value"}
	case strings.ContainsRune(s, ' '):
		return flaw{"has a blank in it", "give one parameter per element; values cannot contain blanks"}
	case !isPrintable(s):
		return flaw{"has something else than printable ASCII in it", "encode the value"}
	case strings.ContainsAny(s, "\"'`"):
		return flaw{"has a quote in it", "leave quotes out, or encode the value"}
	case s[0] == '#':
		return flaw{"begins with '#', which hides all parameters after it", "remove it"}
	case key == "initrd":
		return flaw{"would compete with the loader's own initrd parameter", "list the file in Initrds"}
	case key == "BOOT_IMAGE":
		return flaw{"belongs to the loader", "remove it"}
	case key == "BOOTIF" && !bootifAddress.MatchString(value):
		return flaw{"is no interface that the initramfs recognises",
			"use BOOTIF() to write it: 01- and the address in lower case with dashes"}
	}
	return flaw{}
}

// secretParams are the parameters whose values no error text may repeat.
const secretParams = " rootpass rootcryptpass vncpass "

// shown returns a parameter for an error text: nothing if it is a secret.
func shown(param string) string {
	if key, _, _ := strings.Cut(param, "="); strings.Contains(secretParams, " "+key+" ") {
		return key + "=..."
	}
	return param
}

// hasParam tells whether params set key.
func hasParam(params []string, key string) bool {
	for _, p := range params {
		if k, _, _ := strings.Cut(p, "="); k == key {
			return true
		}
	}
	return false
}

// addsBOOTIF tells whether a renderer shall add BOOTIF to e.
func (e *Entry) addsBOOTIF() bool { return !e.AnyInterface && !hasParam(e.Params, "BOOTIF") }

// checkLength refuses a command line that the kernel would cut off. line is
// what the loader passes on, without the BOOTIF that it adds.
func (e *Entry) checkLength(p *problems, line string) {
	n := len(line)
	if e.addsBOOTIF() {
		n += bootifLength
	}
	if n > MaxCommandLine {
		p.add(fmt.Sprintf("entry %q", e.Name), "",
			fmt.Sprintf("its kernel command line has %d bytes with what the loader adds", n),
			fmt.Sprintf("the kernel keeps %d: use fewer or shorter parameters, names and URLs", MaxCommandLine))
	}
}
