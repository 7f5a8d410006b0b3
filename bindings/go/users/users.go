// Users prints the names of the users of a OneAccess tenant.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"oneaccess"
)

// call calls a management API. If it rejects the token, it tries once more with a new one.
func call(ctx context.Context, client *oneaccess.Client, url string, attempts int) ([]byte, error) {
	token, err := client.Token(ctx)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", token.Authorization)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode == http.StatusOK {
		return body, err
	}
	invalid := strings.Contains(string(body), "invalid_token")
	rejected := response.StatusCode == http.StatusUnauthorized ||
		response.StatusCode == http.StatusBadRequest && invalid
	if !rejected || attempts == 1 {
		return nil, fmt.Errorf("%s: HTTP %s", url, response.Status)
	}
	client.Reject(token.AccessToken)
	return call(ctx, client, url, attempts-1)
}

func printUsers(ctx context.Context, endpoint string) error {
	client, err := oneaccess.NewFromEnv(nil)
	if err != nil {
		return err
	}
	defer client.Close()
	body, err := call(ctx, client, endpoint+"/api/v2/tenant/users", 2)
	if err != nil {
		return err
	}
	var answer struct {
		Users []struct {
			Name string `json:"user_name"`
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	for _, user := range answer.Users {
		fmt.Println(user.Name)
	}
	return nil
}

// trust makes http.DefaultClient trust a private CA too.
func trust(caFile string) error {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return err
	}
	roots.AppendCertsFromPEM(pem)
	http.DefaultTransport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	return nil
}

func main() {
	if caFile := os.Getenv("ONEACCESS_CA_FILE"); caFile != "" {
		if err := trust(caFile); err != nil {
			log.Fatal(err)
		}
	}
	if err := printUsers(context.Background(), os.Getenv("ONEACCESS_ENDPOINT")); err != nil {
		log.Fatal(err)
	}
}
