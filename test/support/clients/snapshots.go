// The names of a domain's snapshots by go-libvirt, as its documentation connects: snapshots SOCKET URI DOMAIN.

package main

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/digitalocean/go-libvirt"
)

func snapshots(socket, uri, name string) ([]string, error) {
	connection, err := net.DialTimeout("unix", socket, 2*time.Second)
	if err != nil {
		return nil, err
	}
	client := libvirt.New(connection)
	if err := client.ConnectToURI(libvirt.ConnectURI(uri)); err != nil {
		return nil, err
	}
	domain, err := client.DomainLookupByName(name)
	if err != nil {
		return nil, err
	}
	found, _, err := client.DomainListAllSnapshots(domain, 1, 0)
	names := []string{}
	for _, snapshot := range found {
		names = append(names, snapshot.Name)
	}
	return names, err
}

func main() {
	names, err := snapshots(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, name := range names {
		fmt.Println(name)
	}
}
