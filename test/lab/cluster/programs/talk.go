// What the pods of tests run: a server that says who asked, and a client that asks once, many times, or for as long as it lives.
//
//	talk serve HTTP-PORT TCP-PORT       HTTP: one JSON line about the request; TCP: every line comes back
//	talk ask URL [COUNT]                prints the answers; ends with 1 when one does not come
//	talk first URL                      asks as the first thing it does, prints what came, and stays
//	talk steady HOST:PORT               a connection every 50 ms, a line on each; prints ok or what went wrong
//	talk stream HOST:PORT               one connection, a numbered line every 20 ms; prints each number that comes back
//
// What does not come within eight seconds does not come: packets may be lost, and machines busy. Who waits that long says how far it was.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"time"
)

const patience = 8 * time.Second

func main() {
	args := os.Args[1:]
	switch {
	case len(args) == 3 && args[0] == "serve":
		serve(args[1], args[2])
	case len(args) == 2 && args[0] == "ask":
		ask(args[1], 1)
	case len(args) == 3 && args[0] == "ask":
		count, _ := strconv.Atoi(args[2])
		ask(args[1], count)
	case len(args) == 2 && args[0] == "first":
		first(args[1])
	case len(args) == 2 && args[0] == "steady":
		steady(args[1])
	case len(args) == 2 && args[0] == "stream":
		stream(args[1])
	default:
		fmt.Fprintln(os.Stderr, "usage: talk serve|ask|first|steady|stream …")
		os.Exit(64)
	}
}

func serve(httpPort, tcpPort string) {
	listener, err := net.Listen("tcp", ":"+tcpPort)
	check(err)
	go func() {
		for {
			connection, err := listener.Accept()
			check(err)
			go func() {
				defer connection.Close()
				io.Copy(connection, connection)
			}()
		}
	}()
	name, _ := os.Hostname()
	check(http.ListenAndServe(":"+httpPort, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		json.NewEncoder(w).Encode(map[string]string{"pod": name, "from": from, "host": r.Host, "path": r.URL.Path})
	})))
}

// Each request has a connection of its own, as the mesh decides about connections.
var client = http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

func get(url string) (string, error) {
	reached := "asking for its name"
	trace := httptrace.ClientTrace{
		ConnectStart:         func(_, _ string) { reached = "connecting" },
		GotConn:              func(httptrace.GotConnInfo) { reached = "writing" },
		WroteRequest:         func(httptrace.WroteRequestInfo) { reached = "waiting" },
		GotFirstResponseByte: func() { reached = "reading" },
	}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), &trace), "GET", url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("%s: %w", reached, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", response.Status)
	}
	return strings.TrimSpace(string(body)), err
}

func ask(url string, count int) {
	for range count {
		answer, err := get(url)
		check(err)
		fmt.Println(answer)
	}
}

func first(url string) {
	if answer, err := get(url); err != nil {
		fmt.Println("failed", err)
	} else {
		fmt.Println("answered", answer)
	}
	for {
		time.Sleep(time.Hour)
	}
}

func steady(address string) {
	for range time.Tick(50 * time.Millisecond) {
		go func() {
			begun := time.Now()
			if err := echoed(address); err != nil {
				fmt.Println("failed", begun.UTC().Format(time.RFC3339Nano), err)
			} else {
				fmt.Println("ok")
			}
		}()
	}
}

func echoed(address string) error {
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(patience))
	if _, err = fmt.Fprintln(connection, "steady"); err != nil {
		return err
	}
	_, err = bufio.NewReader(connection).ReadString('\n')
	return err
}

func stream(address string) {
	connection, err := net.DialTimeout("tcp", address, patience)
	check(err)
	answers := bufio.NewReader(connection)
	for number := 1; ; number++ {
		check(connection.SetDeadline(time.Now().Add(patience)))
		_, err := fmt.Fprintln(connection, number)
		check(err)
		answer, err := answers.ReadString('\n')
		check(err)
		fmt.Print(answer)
		time.Sleep(20 * time.Millisecond)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
