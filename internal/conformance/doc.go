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
// A test whose name begins with the ID of a line, as in TestT006_DuplicateACK or
// TestD006_O007_Instances, must be named by that line. After a change of the
// ledger, "go test ./internal/conformance -update" writes docs/conformance.md.
package conformance
