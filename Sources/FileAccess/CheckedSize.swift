/// The arithmetic on sizes that come from a file: one function for each operation, so that no check is forgotten.
public enum CheckedSize {
  /// - Returns: the product, or nil when it is negative or does not fit.
  public static func product(_ factors: Int...) -> Int? {
    var result = 1
    for factor in factors {
      guard factor >= 0 else { return nil }
      let (product, overflow) = result.multipliedReportingOverflow(by: factor)
      guard !overflow else { return nil }
      result = product
    }
    return result
  }

  /// - Returns: the sum, or nil when a term is negative or the sum does not fit.
  public static func sum(_ terms: Int...) -> Int? {
    var result = 0
    for term in terms {
      guard term >= 0 else { return nil }
      let (sum, overflow) = result.addingReportingOverflow(term)
      guard !overflow else { return nil }
      result = sum
    }
    return result
  }

  /// - Returns: the next multiple of `alignment` at or after `offset`, or nil when it does not fit.
  public static func aligned(_ offset: Int, to alignment: Int) -> Int? {
    guard offset >= 0 else { return nil }
    return sum(offset, padding(after: offset, to: alignment))
  }

  /// The zero bytes between `offset` and the next multiple of `alignment`.
  public static func padding(after offset: Int, to alignment: Int) -> Int {
    precondition(alignment > 0 && offset >= 0)
    let remainder = offset % alignment
    return remainder == 0 ? 0 : alignment - remainder
  }
}
