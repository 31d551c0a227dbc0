// Command bench measures the servers of this module beside those that an
// administrator would install instead, and writes docs/bench.md and
// docs/bench.json:
//
//	make bench                     every row, five rounds
//	make bench ROWS=dhcp N=9       those of one set of servers (nbd, http, dhcp), and
//	                               keeps what the files say of the others; dhcp takes
//	                               a quarter of an hour then
//	make bench ROWS=nbd/fio        the rows whose name has that in it; prints only
//	make bench PROFILE=cpu.pprof   and profiles of our side for each row: CPU,
//	                               allocations, waiting for locks
//
// What makes the figures comparable:
//   - every server is a process of its own, started anew for every measurement;
//     all of them, and the clients, may use the same CPUs (those that bench may
//     use: taskset -c 0,1 make bench);
//   - a round measures every server once, one right after the other, and the next
//     round begins with another one; a ratio is the median of the rounds' ratios,
//     so that a machine which gets slower for a while slows both sides;
//   - servers of DHCP give out leases over a cable (a veth pair) to the namespace of
//     another thread, to perfdhcp, which plays a relay, and to package dhcpload,
//     whose clients sit on the cable themselves; their figures are means of the
//     rounds without the highest and the lowest: N=9 for a mean of seven;
//   - of the others, theirs serve a plain file, ours the file of the same content
//     inside an ISO image, both on the same file system and in the page cache, read
//     into it the same way;
//   - those talk over the loopback interface of a network namespace of their own,
//     with reno as the congestion control, which every system allows there: sockets
//     inherit the machine's, and with bbr a single stream has one of two speeds.
//
// A measurement is one entry in the tables of rows_linux.go and dhcprows_linux.go,
// a server one in those of servers_linux.go and dhcpservers_linux.go.
package main
