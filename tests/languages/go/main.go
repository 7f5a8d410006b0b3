// Counts the users of a OneAccess tenant, in goroutines.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"

	"users/oneaccess"
)

// get calls a management API and replaces a token that it no longer accepts.
func get(client *oneaccess.Client, url string, attempts int) ([]byte, error) {
	token, err := client.Token()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", token.Authorization)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode == http.StatusOK {
		return body, err
	}
	expired := answer.StatusCode == http.StatusUnauthorized ||
		answer.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "invalid_token")
	if !expired || attempts == 1 {
		return nil, fmt.Errorf("%s from %s", answer.Status, url)
	}
	client.Reject(token)
	return get(client, url, attempts-1)
}

func countUsers(client *oneaccess.Client) (int, error) {
	body, err := get(client, os.Getenv("ONEACCESS_TENANT_USERS_URL"), 2)
	if err != nil {
		return 0, err
	}
	var users struct{ Total int }
	err = json.Unmarshal(body, &users)
	return users.Total, err
}

func inGoroutines(client *oneaccess.Client) {
	var group sync.WaitGroup
	var totals [8]int
	for i := range totals {
		group.Add(1)
		go func(total *int) {
			defer group.Done()
			var err error
			if *total, err = countUsers(client); err != nil {
				log.Print(err)
			}
		}(&totals[i])
	}
	group.Wait()
	fmt.Println("users:", strings.Trim(fmt.Sprint(totals), "[]"))
}

func showError(clientID string) {
	caFile := os.Getenv("ONEACCESS_CA_FILE")
	client, err := oneaccess.New(os.Getenv("ONEACCESS_ENDPOINT"), clientID, "wrong", caFile)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	_, err = client.Token()
	var why *oneaccess.Error
	if errors.As(err, &why) {
		fmt.Printf("kind %d, HTTP %d, %s: %v\n", why.Kind, why.HTTPStatus, why.VendorCode, why)
	}
}

// trust adds the CA file, if there is one.
func trust(caFile string) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		log.Fatal(err)
	}
	if pem, err := os.ReadFile(caFile); err == nil {
		roots.AppendCertsFromPEM(pem)
	}
	config := &tls.Config{RootCAs: roots}
	http.DefaultTransport.(*http.Transport).TLSClientConfig = config
}

func main() {
	trust(os.Getenv("ONEACCESS_CA_FILE"))
	client, err := oneaccess.NewFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	inGoroutines(client)
	client.Close()
	showError(os.Getenv("ONEACCESS_CLIENT_ID"))
	showError("disabled-application")
	fmt.Println("ok")
}
