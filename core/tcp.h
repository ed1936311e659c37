#pragma once
// Lines of text over TCP between the processes of one job. Nothing here waits, but connecting.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace muster {

/// One end of a connection. Used by one thread.
class TcpConnection {
 public:
  /// Takes a connected socket.
  explicit TcpConnection(int socket);
  ~TcpConnection();
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;

  /// Nothing if nobody answers at "host:port" ("[v6]:port") within `patience`.
  static std::unique_ptr<TcpConnection> connect(const std::string& address,
                                                std::chrono::milliseconds patience);

  /// Sends a line without its end; what the network does not take now is sent with the next. False: the other
  /// end is gone.
  bool send_line(const std::string& line);
  /// The lines that have come since the last call.
  std::vector<std::string> receive_lines();
  /// Whether the other end has closed, or the connection is broken.
  bool closed() const { return closed_; }

 private:
  bool flush();
  int socket_;
  bool closed_ = false;
  std::string unsent_;
  std::string unread_;
};

/// Takes connections at a port of the system's choice, on all of the host's addresses. Used by one thread.
class TcpListener {
 public:
  /// Error{kPeer} where the system gives no socket.
  TcpListener();
  ~TcpListener();
  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;

  /// The connections that came since the last call.
  std::vector<std::unique_ptr<TcpConnection>> accept();
  /// "address:port" for each of the host's addresses, those that other hosts can use first.
  std::vector<std::string> addresses() const;

 private:
  int socket_;
  std::uint16_t port_ = 0;
};

}  // namespace muster
