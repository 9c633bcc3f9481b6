// A TLS peer for interoperability tests, built on crypto/tls alone.
//
//	tlspeer client ADDRESS CA [CERT KEY]   send standard input, CloseWrite, then copy what comes to standard output
//	tlspeer server CERT KEY CA             print the port, take one connection, and echo it until its end
//
// TLSPEER_VERSION is 1.2 or 1.3. TLSPEER_CUT makes the client drop the connection without close_notify. What fails is said
// in one line on standard error, with exit code 1.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	var err error
	switch os.Args[1] {
	case "client":
		err = client(os.Args[2], os.Args[3], os.Args[4:])
	case "server":
		err = server(os.Args[2], os.Args[3], os.Args[4])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func client(address, ca string, pair []string) error {
	config, err := configuration(ca)
	if err != nil {
		return err
	}
	if len(pair) == 2 {
		certificate, err := tls.LoadX509KeyPair(pair[0], pair[1])
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	config.ServerName = "localhost"
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, tls.VersionName(conn.ConnectionState().Version), conn.ConnectionState().NegotiatedProtocol)
	sent := make(chan error, 1)
	go func() { sent <- send(conn, raw) }()
	if _, err := io.Copy(os.Stdout, conn); err != nil {
		return err
	}
	if err := <-sent; err != nil {
		return err
	}
	return conn.Close()
}

func send(conn *tls.Conn, raw net.Conn) error {
	if _, err := io.Copy(conn, os.Stdin); err != nil {
		return err
	}
	if os.Getenv("TLSPEER_CUT") != "" {
		return raw.(*net.TCPConn).CloseWrite()
	}
	return conn.CloseWrite()
}

func server(cert, key, ca string) error {
	config, err := configuration(ca)
	if err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	config.Certificates = []tls.Certificate{certificate}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = config.RootCAs
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		return err
	}
	defer listener.Close()
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	return echo(conn.(*tls.Conn))
}

func echo(conn *tls.Conn) error {
	defer conn.Close()
	if _, err := io.Copy(conn, conn); err != nil {
		return err
	}
	return conn.CloseWrite()
}

func configuration(ca string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", ca)
	}
	config := &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	if os.Getenv("TLSPEER_VERSION") == "1.2" {
		config.MaxVersion = tls.VersionTLS12
	}
	return config, nil
}
