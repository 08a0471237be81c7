// Dex, the OpenID provider, as the tests need it: memory for storage, users and clients from a JSON file, https, and
// keys that rotate when they are told to. Everything else is Dex's own server package, unchanged.
//
//	dex config.json
//
// SIGHUP makes a new signing key and keeps publishing the old one, as Dex's own rotation does. SIGUSR1 makes a new one
// and forgets the old ones at once, as after a leak. Dex's own program is not used because it does not build from the
// module as the Go proxy has it (its api/v2 module is older).
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/crypto/bcrypt"

	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/server/connectors"
	"github.com/dexidp/dex/server/session"
	"github.com/dexidp/dex/server/signer"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
)

// RSA-2048 is what Dex's own rotation makes.
const keyBits = 2048

// A browser's session at Dex outlives any test.
const sessionLifetime = 12 * time.Hour

type config struct {
	Issuer      string   `json:"issuer"`
	Listen      string   `json:"listen"`
	Certificate string   `json:"certificate"`
	Key         string   `json:"key"`
	Clients     []client `json:"clients"`
	Users       []user   `json:"users"`
	// Go durations.
	IDTokensValidFor   string `json:"idTokensValidFor"`
	KeysRotationPeriod string `json:"keysRotationPeriod"`
	// Whether browsers stay signed in at Dex, which also gives it an end_session_endpoint.
	Sessions bool `json:"sessions"`
	// Whether people are asked to grant access to the client.
	AskApproval bool `json:"askApproval"`
}

type client struct {
	ID                     string   `json:"id"`
	Secret                 string   `json:"secret"`
	Name                   string   `json:"name"`
	Public                 bool     `json:"public"`
	RedirectURIs           []string `json:"redirectURIs"`
	PostLogoutRedirectURIs []string `json:"postLogoutRedirectURIs"`
}

type user struct {
	ID            string   `json:"id"`
	Email         string   `json:"email"`
	EmailVerified bool     `json:"emailVerified"`
	Username      string   `json:"username"`
	Password      string   `json:"password"`
	Groups        []string `json:"groups"`
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: dex config.json")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	configured, err := read(path)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	stored, err := filled(configured, logger)
	if err != nil {
		return err
	}
	provider, err := provider(ctx, configured, stored, logger)
	if err != nil {
		return err
	}
	go rotateWhenTold(ctx, stored, logger)

	listener := &http.Server{Addr: configured.Listen, Handler: provider, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = listener.Close()
	}()
	logger.Info("listening", "issuer", configured.Issuer)
	err = listener.ListenAndServeTLS(configured.Certificate, configured.Key)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func read(path string) (*config, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	configured := &config{IDTokensValidFor: "10m", KeysRotationPeriod: "6h"}
	if err := json.Unmarshal(content, configured); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return configured, nil
}

func filled(configured *config, logger *slog.Logger) (storage.Storage, error) {
	var passwords []storage.Password
	for _, one := range configured.Users {
		// The least that Dex takes: tests wait for it.
		hash, err := bcrypt.GenerateFromPassword([]byte(one.Password), bcrypt.DefaultCost)
		if err != nil {
			return nil, err
		}
		passwords = append(passwords, storage.Password{
			UserID: one.ID, Email: one.Email, EmailVerified: &one.EmailVerified, Hash: hash,
			Username: one.Username, PreferredUsername: one.Username, Groups: one.Groups,
		})
	}
	var clients []storage.Client
	for _, one := range configured.Clients {
		clients = append(clients, storage.Client{
			ID: one.ID, Secret: one.Secret, Name: one.Name, Public: one.Public,
			RedirectURIs: one.RedirectURIs, PostLogoutRedirectURIs: one.PostLogoutRedirectURIs,
		})
	}
	local := storage.Connector{ID: connectors.LocalConnector, Name: "Email", Type: connectors.LocalConnector}
	stored := storage.WithStaticPasswords(memory.New(logger), passwords, logger)
	stored = storage.WithStaticClients(stored, clients)
	return storage.WithStaticConnectors(stored, []storage.Connector{local}), nil
}

func provider(
	ctx context.Context, configured *config, stored storage.Storage, logger *slog.Logger,
) (*server.Server, error) {
	valid, err := time.ParseDuration(configured.IDTokensValidFor)
	if err != nil {
		return nil, err
	}
	local := signer.LocalConfig{KeysRotationPeriod: configured.KeysRotationPeriod}
	signing, err := local.Open(ctx, stored, valid, time.Now, logger)
	if err != nil {
		return nil, err
	}
	options := server.Config{
		Issuer:             configured.Issuer,
		Storage:            stored,
		SkipApprovalScreen: !configured.AskApproval,
		IDTokensValidFor:   valid,
		Logger:             logger,
		Signer:             signing,
	}
	if configured.Sessions {
		options.SessionConfig = &session.Config{
			CookieName: "dex_session", AbsoluteLifetime: sessionLifetime, ValidIfNotUsedFor: sessionLifetime,
		}
	}
	return server.NewServer(ctx, options)
}

func rotateWhenTold(ctx context.Context, stored storage.Storage, logger *slog.Logger) {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGHUP, syscall.SIGUSR1)
	for {
		select {
		case <-ctx.Done():
			return
		case number := <-told:
			if err := rotate(ctx, stored, number == syscall.SIGHUP); err != nil {
				logger.Error("cannot rotate", "err", err)
				continue
			}
			logger.Info("rotated", "signal", number.String())
		}
	}
}

func rotate(ctx context.Context, stored storage.Storage, keepOld bool) error {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return err
	}
	id := make([]byte, 20)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	made := jose.JSONWebKey{Key: private, KeyID: hex.EncodeToString(id), Algorithm: "RS256", Use: "sig"}
	public := made.Public()
	return stored.UpdateKeys(ctx, func(keys storage.Keys) (storage.Keys, error) {
		if keepOld && keys.SigningKeyPub != nil {
			old := storage.VerificationKey{PublicKey: keys.SigningKeyPub, Expiry: time.Now().Add(time.Hour)}
			keys.VerificationKeys = append(keys.VerificationKeys, old)
		}
		if !keepOld {
			keys.VerificationKeys = nil
		}
		keys.SigningKey, keys.SigningKeyPub = &made, &public
		keys.NextRotation = time.Now().Add(6 * time.Hour)
		return keys, nil
	})
}
