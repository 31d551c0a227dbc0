// Package dhcpload plays many DHCP clients that sit on one cable, without
// addresses, as machines that power up do: they send frames from hardware
// addresses of their own and take replies that are addressed to these, or that are
// broadcast if they asked for that. It measures how long each reply takes, and
// sees that no address is given to two of them.
//
// It needs a packet socket, and so Linux and CAP_NET_RAW.
package dhcpload
