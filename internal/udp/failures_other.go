//go:build !linux

package udp

const roomRemedy = "the system has no room for it"

// askForFailures: other systems tell them without being asked.
func (*Conn) askForFailures() {}

// ofEarlier: other systems do not tell of earlier datagrams, or package dhcp knows
// the errors (Windows).
func (*Conn) ofEarlier(error) bool { return false }
