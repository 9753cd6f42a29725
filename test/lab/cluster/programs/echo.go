// What the conformance suite of Gateway API asks of its pods, in the place of its image "echo-advanced": a server that
// says what it was asked, and a client whose output the suite reads line by line, NAME=VALUE.
//
//	server [--port=N…] [--tls=N] [--grpc=N…] [--tcp=N…]
//	client SCHEME://HOST[:PORT]/PATH [--method=M] [-H NAME:VALUE]… [--count=N]     http, https, grpc
//
// Without arguments the server listens where the suite expects it to. gRPC has one call, whose request and answer are a
// message with a text in field 1, so that no library is needed for it.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const patience = 5 * time.Second
const call = "/proto.EchoTestService/Echo"

func main() {
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == "client" {
		os.Exit(client(args))
	}
	serve(args)
}

func serve(args []string) {
	ports := map[string][]string{}
	for _, arg := range args {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		ports[name] = append(ports[name], value)
	}
	if len(args) == 0 {
		ports = map[string][]string{"port": {"8080"}, "grpc": {"7070"}, "tcp": {"9090"}}
	}
	failed := make(chan error)
	for _, port := range append(ports["port"], ports["grpc"]...) {
		secure := len(ports["tls"]) > 0 && ports["tls"][0] == port
		go func() { failed <- serveHTTP(port, secure) }()
	}
	for _, port := range ports["tcp"] {
		go func() { failed <- serveTCP(port) }()
	}
	check(<-failed)
}

func serveHTTP(port string, secure bool) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{Addr: ":" + port, Protocols: &protocols}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			answerCall(w, r, port)
			return
		}
		io.WriteString(w, describe(r, port))
	})
	if !secure {
		return server.ListenAndServe()
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate()}}
	return server.ListenAndServeTLS("", "")
}

func answerCall(w http.ResponseWriter, r *http.Request, port string) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	if r.URL.Path != call {
		w.Header().Set("Grpc-Status", "12")
		return
	}
	w.Write(message(describe(r, port) + "StatusCode=200\n"))
	w.Header().Set("Grpc-Status", "0")
}

func serveTCP(port string) error {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			io.Copy(connection, connection)
		}()
	}
}

// What the server has to say about a request.
func describe(r *http.Request, port string) string {
	var text strings.Builder
	name, _ := os.Hostname()
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	line := func(name, value string) { fmt.Fprintf(&text, "%s=%s\n", name, value) }
	line("ServicePort", port)
	line("Host", r.Host)
	line("URL", r.URL.RequestURI())
	line("Method", r.Method)
	line("Proto", r.Proto)
	line("IP", from)
	for header, values := range r.Header {
		for _, value := range values {
			line("RequestHeader", header+":"+value)
		}
	}
	line("Hostname", name)
	return text.String()
}

// For nobody who looks at it.
func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

type request struct {
	url     *url.URL
	method  string
	headers [][2]string
	count   int
	isCall  bool
}

func client(args []string) int {
	wanted, err := parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 64
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}
	if wanted.isCall {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	asking := &http.Client{Transport: transport, Timeout: patience}
	asking.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	code := 0
	for index := range wanted.count {
		if err := ask(asking, wanted, index); err != nil {
			fmt.Printf("[%d error] %v\n", index, err)
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		// Between two answers.
		fmt.Println()
	}
	return code
}

func parse(args []string) (*request, error) {
	wanted := &request{method: http.MethodGet, count: 1}
	target := ""
	for at := 0; at < len(args); at++ {
		name, value, _ := strings.Cut(args[at], "=")
		switch {
		case name == "-H" && at+1 < len(args):
			at++
			header, value, _ := strings.Cut(args[at], ":")
			wanted.headers = append(wanted.headers, [2]string{header, strings.TrimSpace(value)})
		case name == "--method":
			wanted.method = value
		case name == "--count":
			wanted.count, _ = strconv.Atoi(value)
		case !strings.HasPrefix(name, "-"):
			target = args[at]
		default:
			return nil, fmt.Errorf("unknown option %s", args[at])
		}
	}
	address, err := url.Parse(target)
	if err == nil && address.Host == "" {
		err = errors.New("no URL was given")
	}
	if err != nil {
		return nil, err
	}
	if address.Scheme == "grpc" {
		wanted.isCall, wanted.method = true, http.MethodPost
		address.Scheme, address.Path = "http", call
	}
	wanted.url = address
	return wanted, nil
}

func ask(asking *http.Client, wanted *request, index int) error {
	var body io.Reader
	if wanted.isCall {
		body = bytes.NewReader(message(fmt.Sprint("call ", index)))
	}
	asked, err := http.NewRequest(wanted.method, wanted.url.String(), body)
	if err != nil {
		return err
	}
	if wanted.isCall {
		asked.Header.Set("Content-Type", "application/grpc")
		asked.Header.Set("TE", "trailers")
	}
	for _, header := range wanted.headers {
		if strings.EqualFold(header[0], "Host") {
			asked.Host = header[1]
		} else {
			asked.Header.Add(header[0], header[1])
		}
	}
	answer, err := asking.Do(asked)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	text := string(content)
	if wanted.isCall {
		if text, err = resultOf(answer, content); err != nil {
			return err
		}
	} else {
		fmt.Printf("[%d] StatusCode=%d\n", index, answer.StatusCode)
	}
	for header, values := range answer.Header {
		for _, value := range values {
			fmt.Printf("[%d] ResponseHeader=%s:%s\n", index, header, value)
		}
	}
	for line := range strings.Lines(text) {
		fmt.Printf("[%d body] %s\n", index, strings.TrimRight(line, "\n"))
	}
	return nil
}

// The text that a call returned, or why it failed.
func resultOf(answer *http.Response, content []byte) (string, error) {
	// A call that fails at once has its status among the headers.
	if status := answer.Trailer.Get("Grpc-Status") + answer.Header.Get("Grpc-Status"); status != "0" {
		return "", fmt.Errorf("HTTP %d, gRPC status %q", answer.StatusCode, status)
	}
	const head = 6
	if len(content) < head {
		return "", errors.New("the message is too short")
	}
	length, size := binary.Uvarint(content[head:])
	start := head + max(size, 0)
	if size <= 0 || uint64(len(content)-start) < length {
		return "", errors.New("the message is cut off")
	}
	return string(content[start : start+int(length)]), nil
}

// A gRPC message with this text in field 1.
func message(text string) []byte {
	field := append([]byte{0x0a}, binary.AppendUvarint(nil, uint64(len(text)))...)
	field = append(field, text...)
	framed := append([]byte{0}, binary.BigEndian.AppendUint32(nil, uint32(len(field)))...)
	return append(framed, field...)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
