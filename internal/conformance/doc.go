// Package conformance holds the conformance ledger: what each protocol that
// this module speaks demands of it, one testable line each, with the tests
// that prove it. The tests of this package fail when the ledger and the module
// disagree, and hold the rules of the source tree as well (who imports whom,
// no package state, every exported name documented).
//
// # The ledger
//
// There is one text file per protocol in the folder ledger. A file is a list of
// stanzas separated by empty lines; a stanza is a list of "field: value" lines,
// and a line that begins with a space or a tab continues the value above it.
// Lines beginning with # are comments. The first stanza names the protocol:
//
//	protocol: TFTP server
//	prefix: T
//
// Each other stanza is one line of the ledger:
//
//	id: T-006
//	level: MUST
//	section: RFC 1123 §4.2.3.1
//	statement: A duplicate ACK never triggers DATA; only a new ACK or a timeout does.
//	positive: tftp.TestT006_DuplicateACKSendsNothing
//	negative: tftp.TestT006_TimeoutSendsAgain
//
// The level is the specification's own word. MUST, SHOULD and MAY are those of
// RFC 2119; a line that protects the server against a client's input is MUST
// whatever the specification says. QUIRK is what real firmware, loaders or
// initramfs programs do, read from their sources. The section cites the
// document; where no section is given, the document alone has been verified.
//
// The positive test shows the behaviour where it is demanded, the negative one
// that it does not happen where it is not, or that the violation is refused.
// Tests are named by the folder of their package and the function, separated by
// a dot: tftp.TestX, dhcp/pxetest.TestY, and pxe.TestZ for the module's root.
// Several names are separated by commas.
//
// A line whose feature does not exist yet says so in a field pending, by a name
// listed in ledger/pending.txt. Removing the name there makes every line that
// waits for it fail until it names its tests.
//
// A line that guards against what a client sends says "guard: input". Then it is
// proved by mutation as well: the folder mutations has, in files of the same form,
// the line of code that is the guard and what it becomes when the guard is taken
// out, and the test of the line that must fail then:
//
//	id: D-002
//	file: dhcp/decode.go
//	old: case p[0] != byte(dhcpv4.OpcodeBootRequest):
//	new: case false:
//	test: dhcp.TestDecode
//
// Tests here check that the old text stands in its file exactly once; "go run
// ./internal/conformance/mutate" does it all and writes docs/mutations.md, which must
// list each mutation as it is. What is a guard by the absence of code (a name that is
// never read) or belongs to a library has none.
//
// A test whose name begins with the ID of a line, as in TestT006_DuplicateACK or
// TestD006_O007_Instances, must be named by that line. After a change of the
// ledger, "go test ./internal/conformance -update" writes docs/conformance.md.
package conformance
