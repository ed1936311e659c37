#include "core/tcp.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace muster {
namespace {

constexpr int kFlags = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
/// Nobody reads: more would fill the memory of a rank whose peer hangs.
constexpr std::size_t kMostUnsent = std::size_t{1} << 20;

bool connected_within(int socket, std::chrono::milliseconds patience) {
  pollfd watched{socket, POLLOUT, 0};
  int error = 0;
  socklen_t size = sizeof error;
  return ::poll(&watched, 1, static_cast<int>(patience.count())) == 1 &&
         ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

}  // namespace

TcpConnection::TcpConnection(int socket) : socket_(socket) {
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

TcpConnection::~TcpConnection() { ::close(socket_); }

std::unique_ptr<TcpConnection> TcpConnection::connect(const std::string& address,
                                                      std::chrono::milliseconds patience) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return nullptr;
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found) != 0) return nullptr;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> guard(found, ::freeaddrinfo);
  const int socket = ::socket(found->ai_family, kFlags, 0);
  if (socket < 0) return nullptr;
  auto connection = std::make_unique<TcpConnection>(socket);
  if (::connect(socket, found->ai_addr, found->ai_addrlen) == 0) return connection;
  return errno == EINPROGRESS && connected_within(socket, patience) ? std::move(connection) : nullptr;
}

bool TcpConnection::flush() {
  while (!unsent_.empty() && !closed_) {
    const ::ssize_t sent = ::send(socket_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (sent >= 0) unsent_.erase(0, static_cast<std::size_t>(sent));
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (sent < 0 && errno != EINTR) return false;  // what it sent before can still be read
  }
  return !closed_;
}

bool TcpConnection::send_line(const std::string& line) {
  if (unsent_.size() < kMostUnsent) unsent_ += line + "\n";
  return flush();
}

std::vector<std::string> TcpConnection::receive_lines() {
  std::array<char, 4096> part;
  while (!closed_) {
    const ::ssize_t got = ::recv(socket_, part.data(), part.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (got <= 0 || unread_.size() > kMostUnsent) closed_ = true;
    if (got > 0) unread_.append(part.data(), static_cast<std::size_t>(got));
  }
  std::vector<std::string> lines;
  for (std::size_t end = unread_.find('\n'); end != std::string::npos; end = unread_.find('\n')) {
    lines.push_back(unread_.substr(0, end));
    unread_.erase(0, end + 1);
  }
  return lines;
}

TcpListener::TcpListener() : socket_(::socket(AF_INET6, kFlags, 0)) {
  const bool v6 = socket_ >= 0;
  if (!v6) socket_ = ::socket(AF_INET, kFlags, 0);  // a host without IPv6
  const int off = 0;
  if (v6) ::setsockopt(socket_, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_storage any{};
  any.ss_family = v6 ? AF_INET6 : AF_INET;
  socklen_t size = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  auto* const address = reinterpret_cast<sockaddr*>(&any);
  const bool listens = socket_ >= 0 && ::bind(socket_, address, size) == 0 && ::listen(socket_, 1024) == 0 &&
                       ::getsockname(socket_, address, &size) == 0;
  if (!listens) {
    const int cause = errno;
    if (socket_ >= 0) ::close(socket_);
    fail(ErrorCode::kPeer, "no port to listen at: {}", std::strerror(cause));
  }
  port_ = ntohs(v6 ? reinterpret_cast<sockaddr_in6*>(&any)->sin6_port
                   : reinterpret_cast<sockaddr_in*>(&any)->sin_port);
}

TcpListener::~TcpListener() { ::close(socket_); }

std::vector<std::unique_ptr<TcpConnection>> TcpListener::accept() {
  std::vector<std::unique_ptr<TcpConnection>> fresh;
  while (true) {
    const int socket = ::accept4(socket_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0 && errno == EINTR) continue;
    if (socket < 0) return fresh;
    fresh.push_back(std::make_unique<TcpConnection>(socket));
  }
}

std::vector<std::string> TcpListener::addresses() const {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return {fmt::format("127.0.0.1:{}", port_)};
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> guard(all, ::freeifaddrs);
  std::vector<std::string> outward;
  std::vector<std::string> inward;
  for (const ifaddrs* entry = all; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    std::array<char, NI_MAXHOST> text{};
    const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    if (::getnameinfo(entry->ifa_addr, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0)
      continue;
    auto& into = (entry->ifa_flags & IFF_LOOPBACK) != 0 ? inward : outward;
    into.push_back(family == AF_INET ? fmt::format("{}:{}", text.data(), port_)
                                     : fmt::format("[{}]:{}", text.data(), port_));
  }
  outward.insert(outward.end(), inward.begin(), inward.end());
  return outward;
}

}  // namespace muster
