// Package dhcplint judges the bytes of DHCP replies. It shares nothing with the
// encoder of package dhcp nor with the codec that that is built on: it reads the
// packet by the text of RFC 2131, RFC 2132 and the RFCs of single options, and
// knows what firmware cannot bear.
//
// Tests of every package show it what their server sends: [Reply] judges one
// reply to one request, [Watch] finds the pairs in a stream of datagrams, as a
// tap on a segment or a capture has them.
package dhcplint
