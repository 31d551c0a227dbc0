package vm

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Duplicate has the segment deliver each UDP datagram that the server sends twice, as
// networks do that have a loop or a bad trunk. It ends with the network.
func (n *Network) Duplicate(ctx context.Context) error {
	// The copy comes by here again: the mark keeps it from being copied in turn.
	rules := fmt.Sprintf(`
table netdev pxekit_%[1]s {
	chain twice {
		type filter hook egress device "%[1]s" priority 0;
		meta l4proto udp meta mark != 1 meta mark set 1 dup to "%[1]s"
	}
}`, n.bridge)
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("vm: duplicate packets: nft: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// MissingDuplication says in one line what [Network.Duplicate] needs beyond what
// machines need; "" if nothing is missing.
func MissingDuplication() string {
	return missing([]requirement{{pkg: "nftables", program: "nft"}})
}
