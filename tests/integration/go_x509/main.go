// Command main verifies a folder of certificates as Go's TLS does, and that each key belongs to its certificate.
//
//	go run main.go DIR
package main

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

type leaf struct {
	name, authority, host string
	usage                 x509.ExtKeyUsage
}

func main() {
	leaves := []leaf{
		{"server", "server-ca", "localhost", x509.ExtKeyUsageServerAuth},
		{"server", "server-ca", "127.0.0.1", x509.ExtKeyUsageServerAuth},
		{"server", "server-ca", "dev.stub.example.com", x509.ExtKeyUsageServerAuth},
		{"agent-dev", "agent-ca", "", x509.ExtKeyUsageClientAuth},
		{"user-alice", "user-ca", "", x509.ExtKeyUsageClientAuth},
	}
	for _, leaf := range leaves {
		if err := verify(os.Args[1], leaf); err != nil {
			fmt.Printf("%s %s: %v\n", leaf.name, leaf.host, err)
			os.Exit(1)
		}
	}
	alice, err := certificate(os.Args[1], "user-alice")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	// What the apiserver's own x509 authenticator reads.
	fmt.Printf("%s %q\n", alice.Subject.CommonName, alice.Subject.Organization)
}

func verify(folder string, leaf leaf) error {
	authority, err := certificate(folder, leaf.authority)
	if err != nil {
		return err
	}
	subject, err := certificate(folder, leaf.name)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	options := x509.VerifyOptions{Roots: roots, DNSName: leaf.host, KeyUsages: []x509.ExtKeyUsage{leaf.usage}}
	if _, err := subject.Verify(options); err != nil {
		return err
	}
	return belongs(folder, leaf.name, subject)
}

func belongs(folder, name string, subject *x509.Certificate) error {
	der, err := block(folder, name+".key")
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	public, comparable := key.(crypto.Signer).Public().(interface{ Equal(crypto.PublicKey) bool })
	if !comparable || !public.Equal(subject.PublicKey) {
		return fmt.Errorf("the key is another's")
	}
	return nil
}

func certificate(folder, name string) (*x509.Certificate, error) {
	der, err := block(folder, name+".crt")
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func block(folder, name string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return nil, err
	}
	found, _ := pem.Decode(text)
	if found == nil {
		return nil, fmt.Errorf("%s: not PEM", name)
	}
	return found.Bytes, nil
}
